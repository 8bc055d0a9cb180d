"""On which devices a training runs, and what torchrun has to say in it."""

from __future__ import annotations

import pytest

from affetto.errors import TrainingError
from affetto.training.recogniser.processes import Placement

TORCHRUN = {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}


@pytest.mark.parametrize(
    ("asked", "environment", "devices", "nodes"),
    [
        ({}, {}, "auto", 1),
        ({"devices": 8, "nodes": 4}, {}, 8, 4),
        ({}, TORCHRUN, 2, 2),
        ({"devices": 2, "nodes": 2}, TORCHRUN, 2, 2),
    ],
)
def test_who_decides(asked: dict[str, int], environment: dict[str, str], devices: object, nodes: int) -> None:
    found = Placement(**asked).arguments(environment)  # type: ignore[arg-type]
    assert (found["devices"], found["num_nodes"], found["strategy"]) == (devices, nodes, "auto")


@pytest.mark.parametrize("asked", [{"devices": 8}, {"nodes": 3}])
def test_other_numbers_than_torchruns_are_refused(asked: dict[str, int]) -> None:
    with pytest.raises(TrainingError, match="torchrun has started 2 processes on each of 2 machines"):
        Placement(**asked).arguments(TORCHRUN)  # type: ignore[arg-type]
