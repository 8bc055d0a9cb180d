"""What `open_encoder` is given by mistake: one clear line each, and nothing computed."""

from __future__ import annotations

import builtins
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.models.tiny_encoders import keep, save

import affetto
from affetto import pretrained
from affetto.errors import CheckpointError, ConfigError, MissingExtraError
from affetto.models.encoders import hub, locate, open_encoder
from affetto.models.heads import EmotionHead, save_head
from affetto.models.heads.kinds import MeanPoolingConfig
from affetto.recognise import EmotionRecogniser

DEMO = Path(affetto.__file__).parent / "demo"
COMMIT = "0123456789" * 4


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
    kept = save("whisper", tmp_path / "snapshots" / COMMIT)
    (kept / "README.md").write_text("---\nlanguage:\n- en\nlicense: mit\n---\n# Whisper\n")
    asked: list[tuple[object, ...]] = []

    def answer(repository: str, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((repository, revision))
        assert not any("bin" in each or "py" in each.partition(".")[2] for each in allow_patterns)
        return str(kept)

    _answers(monkeypatch, answer)
    found = open_encoder("owner/name@v1")
    assert asked == [("owner/name", "v1")]
    assert found.origin == ("owner/name", "hub", COMMIT, "mit", kept)
    assert found.fingerprint == open_encoder(kept).fingerprint
    assert locate("owner/name") == (kept, ("owner/name", "hub", COMMIT, None, None))


def test_a_folder_of_ours_is_opened_by_its_name_on_the_hub(offline: Path, tiny_model: Path) -> None:
    keep(tiny_model, offline, "owner/name", COMMIT)
    here = EmotionRecogniser.from_pretrained(tiny_model, "cpu").fingerprint()
    for name in ("owner/name", "owner/name@main", f"owner/name@{COMMIT}"):
        found = EmotionRecogniser.from_pretrained(name, "cpu")
        assert (found.fingerprint(), str(found.encoder.origin)) == (here, f"owner/name@{COMMIT}")


def test_of_a_repository_no_more_is_fetched_than_is_read(
    offline: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, here = tmp_path / "there", tmp_path / COMMIT
    shutil.copytree(tiny_model, there)
    names = {path.name for path in tiny_model.iterdir()} | {"language.safetensors", "language.json", "README.md"}
    for name in (*names, "pytorch_model.bin", "emotion.pt", "modeling.py", "optimiser.safetensors", "talk.wav"):
        (there / name).touch()

    def answer(_: str, revision: str | None, allow_patterns: list[str]) -> str:
        here.mkdir()
        for name in filter_repo_objects([path.name for path in there.iterdir()], allow_patterns=allow_patterns):
            shutil.copy(there / name, here)
        return str(here)

    filter_repo_objects = pytest.importorskip("huggingface_hub.utils").filter_repo_objects
    _answers(monkeypatch, answer)
    assert locate("owner/name")[0] == here
    assert {path.name for path in here.iterdir()} == names


def test_a_head_on_the_hub_brings_the_recogniser_that_it_was_trained_on(offline: Path, tmp_path: Path) -> None:
    older, newer = (save("whisper", tmp_path / str(seed), seed) for seed in (1, 2))
    keep(older, offline, "others/whisper", COMMIT)
    keep(newer, offline, "others/whisper", COMMIT[::-1])
    head = EmotionHead(MeanPoolingConfig(layer="layer1"), ("a", "b"), {"layer1": 16})
    trained_on = {
        "encoder": f"others/whisper@{COMMIT}",
        "encoder_fingerprint": open_encoder(older, device="cpu").fingerprint,
    }
    save_head(tmp_path / "head" / pretrained.EMOTION, head, trained_on)
    keep(tmp_path / "head", offline, "owner/head", COMMIT)
    found = EmotionRecogniser.from_pretrained("owner/head", "cpu", spells=False)
    assert (found.emotions, str(found.encoder.origin)) == (("a", "b"), f"others/whisper@{COMMIT}")


def test_the_shell_opens_it_where_there_is_no_network(tmp_path: Path, tiny_model: Path) -> None:
    pytest.importorskip("huggingface_hub")
    keep(tiny_model, tmp_path / "hub", "owner/name", COMMIT)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGINGFACE_"))}
    environment |= {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "affetto", "recognise", str(DEMO), "--format", "json", "--model"]
    by_name, by_folder = (
        subprocess.run([*command, name], env=environment, capture_output=True, text=True, timeout=120, check=True)
        for name in (f"owner/name@{COMMIT}", str(tiny_model))
    )
    assert len(json.loads(by_name.stdout)) == 4
    assert by_name.stdout == by_folder.stdout


def test_what_is_no_model_of_ours_is_said_by_its_name(offline: Path, tmp_path: Path) -> None:
    _nothing(tmp_path / "model")
    (tmp_path / "model" / "README.md").write_text("# Something else")
    keep(tmp_path / "model", offline, "owner/name", COMMIT)
    with pytest.raises(CheckpointError, match=rf"^owner/name@{COMMIT}: holds no model: neither recogniser"):
        open_encoder("owner/name")
    with pytest.raises(CheckpointError, match="cannot be asked for it"):
        open_encoder("owner/name@another")


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
