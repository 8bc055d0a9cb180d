"""Recordings that are damaged in every way, and requests made from the service's own description."""

from __future__ import annotations

import io
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
import schemathesis
import soundfile
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from tests.server.serving import RECOGNISE

CONTAINERS = {"WAV": "PCM_16", "FLAC": "PCM_16", "OGG": "VORBIS", "MP3": "MPEG_LAYER_III", "AIFF": "PCM_16"}


@pytest.fixture(scope="module")
def sounds(angry: bytes) -> dict[str, bytes]:
    samples, rate = soundfile.read(io.BytesIO(angry), dtype="float32")
    made = {}
    for container, subtype in CONTAINERS.items():
        content = io.BytesIO()
        soundfile.write(content, samples[: rate // 2], rate, subtype, format=container)
        made[container] = content.getvalue()
    return made


def damaged(sound: bytes, rng: np.random.Generator) -> bytes:
    """Cut short, with bits turned over, with another head, or with a stretch of noise."""
    values = np.frombuffer(sound, np.uint8).copy()
    kind = rng.integers(4)
    if kind == 0:
        return sound[: rng.integers(1, len(sound))]
    if kind == 1:
        places = rng.integers(0, len(values), rng.integers(1, 30))
        values[places] ^= (1 << rng.integers(0, 8, len(places))).astype(np.uint8)
    elif kind == 2:
        values[rng.integers(0, 64, 8)] = rng.integers(0, 256, 8)
    else:
        first = rng.integers(0, len(values))
        stretch = values[first : first + rng.integers(1, 500)]
        stretch[:] = rng.integers(0, 256, len(stretch))
    return values.tobytes()


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")  # a traceback in the log, else
@pytest.mark.parametrize("many", [40, pytest.param(500, marks=pytest.mark.heavy)])
@pytest.mark.parametrize("container", CONTAINERS)
def test_damaged_recordings_are_answered(
    client: httpx.Client, sounds: dict[str, bytes], container: str, many: int
) -> None:
    rng = np.random.default_rng([list(CONTAINERS).index(container), many])
    broken = [damaged(sounds[container], rng) for _ in range(many)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda content: client.post(RECOGNISE, content=content), broken))
    statuses = {answer.status_code for answer in answers}
    assert statuses <= {200, 413, 422}
    assert 422 in statuses or container in {"WAV", "MP3", "AIFF"}
    assert client.get("/healthz").is_success
    assert client.post(RECOGNISE, content=sounds[container]).status_code == 200


@pytest.mark.parametrize("many", [8, pytest.param(300, marks=pytest.mark.heavy)])
def test_requests_made_from_its_description(client: httpx.Client, many: int) -> None:
    schema = schemathesis.openapi.from_url(f"{client.base_url}/openapi.json")
    asked = [ask_as_described(made.ok(), many) for made in schema.get_all_operations()]
    assert len(asked) == 7
    assert sum(asked, Counter()).keys() >= {200, 422, 426}


def ask_as_described(operation: Any, many: int) -> Counter[int]:
    """Requests that fit the description of an operation and such that do not; counts the answers by their status."""
    statuses: Counter[int] = Counter()

    @settings(max_examples=many, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def ask(case: schemathesis.Case) -> None:
        answer = case.call()
        # No schema can tell which bytes are sound, so what fits it may be refused.
        case.validate_response(answer, excluded_checks=[positive_data_acceptance])
        statuses[answer.status_code] += 1

    ask()
    return statuses
