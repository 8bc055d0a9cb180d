"""What `open_encoder` is given by mistake: one clear line each, and nothing computed."""

from __future__ import annotations

import builtins
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.models.tiny_encoders import save

from affetto.errors import CheckpointError, ConfigError, MissingExtraError
from affetto.models.encoders import hub, locate, open_encoder


def _nothing(folder: Path) -> None:
    folder.mkdir()


def _bert(folder: Path) -> None:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))


def _no_object(folder: Path) -> None:
    folder.mkdir()
    (folder / "config.json").write_text("[]")


def _a_file(folder: Path) -> None:
    folder.write_text("")


def _of_the_future(folder: Path) -> None:
    save("deepspeech2", folder)
    card = json.loads((folder / "recogniser.json").read_text())
    card["config"]["kind"] = "deepspeech9"
    (folder / "recogniser.json").write_text(json.dumps(card))


def _not_a_kind(folder: Path) -> None:
    save("deepspeech2", folder)
    card = json.loads((folder / "recogniser.json").read_text())
    card["config"]["kind"] = ["deepspeech2"]
    (folder / "recogniser.json").write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (_nothing, r"holds no model: neither recogniser\.safetensors nor config\.json"),
        (_bert, r"'bert', no speech encoder known here; choose one of .*whisper"),
        (_no_object, "no JSON object"),
        (_a_file, "a file, not a model"),
        (_of_the_future, "of kind 'deepspeech9'"),
        (_not_a_kind, "of kind"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, make: Callable[[Path], None], problem: str) -> None:
    make(tmp_path / "model")
    with pytest.raises(CheckpointError, match=problem):
        open_encoder(tmp_path / "model")


def test_a_name_that_can_be_none_on_the_hub_is_no_model() -> None:
    with pytest.raises(CheckpointError, match="enormous: no such model; choose small, tiny, or name a model's folder"):
        open_encoder("enormous")


def test_a_device_that_is_not_there_is_refused_first() -> None:
    with pytest.raises(ConfigError, match="abacus: no such device"):
        open_encoder("enormous", device="abacus")


def test_recognisers_from_before_there_were_kinds_are_deep_speech(tmp_path: Path) -> None:
    folder = save("deepspeech2", tmp_path / "model")
    encoder = open_encoder(folder)
    card = json.loads((folder / "recogniser.json").read_text())
    del card["config"]["kind"]
    (folder / "recogniser.json").write_text(json.dumps(card))
    assert open_encoder(folder).fingerprint == encoder.fingerprint
    assert open_encoder(folder).facts == {"licence": "none"}
    assert open_encoder(folder).origin.licence == "none"


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's tools, kept from the network, and an empty folder for what they fetch."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _answers(monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Any]) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", answer)


def test_without_a_network_a_folder_is_advised(offline: Path) -> None:
    advice = "affetto/no-such: is no folder here, and the hub cannot be asked for it .*; .*name the folder it is in"
    with pytest.raises(CheckpointError, match=advice) as caught:
        open_encoder("affetto/no-such")
    assert len(str(caught.value).splitlines()) == 1


def test_what_was_fetched_before_is_found_without_a_network(
    offline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789" * 4
    kept = save("whisper", tmp_path / "snapshots" / commit)
    (kept / "README.md").write_text("---\nlanguage:\n- en\nlicense: mit\n---\n# Whisper\n")
    asked: list[tuple[object, ...]] = []

    def answer(repository: str, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((repository, revision))
        assert not any("bin" in each or "py" in each.partition(".")[2] for each in allow_patterns)
        return str(kept)

    _answers(monkeypatch, answer)
    found = open_encoder("owner/name@v1")
    assert asked == [("owner/name", "v1")]
    assert found.origin == ("owner/name", "hub", commit, "mit", kept)
    assert found.fingerprint == open_encoder(kept).fingerprint
    assert locate("owner/name") == (kept, ("owner/name", "hub", commit, None, None))


def _error(name: str) -> Any:
    errors = pytest.importorskip("huggingface_hub.errors")
    httpx = pytest.importorskip("httpx")
    return getattr(errors, name)(
        "first\nsecond", response=httpx.Response(404, request=httpx.Request("GET", "http://a"))
    )


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("RepositoryNotFoundError", "neither a folder here nor a repository of the hub; check its name"),
        ("RevisionNotFoundError", "has no revision 'v1'; name another"),
        ("GatedRepoError", "open only to those who asked"),
        ("HfHubHTTPError", r"cannot be asked for it \(first\)"),
    ],
)
def test_what_the_hub_refuses_is_said(offline: Path, monkeypatch: pytest.MonkeyPatch, name: str, problem: str) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise _error(name)

    _answers(monkeypatch, refuse)
    with pytest.raises(CheckpointError, match=problem):
        open_encoder("owner/name@v1")


def test_a_disk_that_is_full_is_said(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise OSError(28, "No space left on device")

    _answers(monkeypatch, refuse)
    with pytest.raises(CheckpointError, match="No space left on device"):
        open_encoder("owner/name")


def test_a_cache_that_cannot_be_written_is_said_before_anything_is_fetched(
    offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline.write_text("a file where a folder should be")
    _answers(monkeypatch, lambda *_, **__: pytest.fail("asked the hub"))
    with pytest.raises(CheckpointError, match=r"cannot be written .*; name another in HF_HOME"):
        open_encoder("owner/name")


def test_without_the_extra_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "huggingface_hub":
            raise ImportError(name)
        return imported(name, *rest)

    imported = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"pip install 'affetto\[public\]'"):
        hub.fetch(hub.Repository("owner/name", None))
