"""``affetto probe``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from affetto.cli.probe import gaps
from affetto.data.manifest import write_manifest
from affetto.data.utterance import Utterance
from affetto.probe.neurons import Neurons

Run = Callable[..., "tuple[int, str, str]"]


@pytest.fixture
def asked(make_sound: Callable[..., Path], tiny_model: Path) -> tuple[object, ...]:
    """Options that name a corpus of six speakers and a recogniser."""
    sounds = [
        (make_sound(f"small/{speaker}{emotion}{take}.wav", duration_s=0.5 + 0.02 * place), speaker, emotion)
        for place, (speaker, emotion, take) in enumerate(
            (speaker, emotion, take) for speaker in "abcdef" for emotion in ("anger", "sadness") for take in (0, 1)
        )
    ]
    folder = sounds[0][0].parent
    write_manifest(
        folder / "manifest.jsonl",
        [Utterance(id=path.stem, audio=path, speaker=name, corpus="c", emotion=felt) for path, name, felt in sounds],
    )
    return (
        *("--data", folder, "--corpus", "manifest.jsonl", "--recogniser", tiny_model, "--classes", "anger,sadness"),
        *("--output", folder / "probe"),
    )


def test_neurons_are_listed(run: Run, asked: tuple[object, ...]) -> None:
    code, out, err = run("probe", "neurons", *asked, "--permutations", 9)
    assert (code, err) == (0, "")
    assert len([line for line in out.splitlines() if line.strip().startswith("loudness")]) == 4
    assert "chosen on 3 speakers and measured on 3 others (12 utterances)" in " ".join(out.split())


def test_neurons_as_json(run: Run, asked: tuple[object, ...]) -> None:
    values = json.loads(run("probe", "neurons", *asked, "--permutations", 9, "--format", "json")[1])
    assert {row["target"] for row in values["best"]} >= {"loudness", "voicing", "tilt"}
    assert all(row["pooled"] is None for row in values["best"] if row["level"] == "utterance")


def test_layers_are_listed(run: Run, asked: tuple[object, ...]) -> None:
    code, out, err = run("probe", "layers", *asked, "--folds", 3, "--no-control")
    assert (code, err) == (0, "")
    assert [line.split()[:2] for line in out.splitlines()[3:7]][1:] == [
        ["trained", "conv1"],
        ["trained", "gru1"],
        ["trained", "gru2"],
    ]
    assert "untrained" not in out


def test_projections_are_listed(run: Run, asked: tuple[object, ...]) -> None:
    code, out, err = run("probe", "projections", *asked, "--rnn", "none")
    assert (code, err) == (0, "")
    assert "MP-gru2" in out
    assert "RNN" not in out


@pytest.mark.parametrize("probe", ["neurons", "layers", "projections"])
def test_a_corpus_that_is_not_there(run: Run, probe: str, tmp_path: Path) -> None:
    code, out, err = run("probe", probe, "--data", tmp_path, "--corpus", "nowhere", "--output", tmp_path / "probe")
    assert (code, out) == (2, "")
    assert "nowhere" in err
    assert not (tmp_path / "probe").exists()


def test_units_that_never_change_are_reported() -> None:
    facts = {
        "counts": {"units": 3248},
        "targets": {},
        "utterances_without": {"loudness": 0, "pitch": 7},
        "units_never_compared": {"loudness": 12, "pitch": 40},  # 28 change, but in no utterance with a pitch
        "unreadable": {},
    }
    assert gaps(Neurons(Path(), facts, [], [])) == [
        "7 utterances have no pitch: they do not count for it",
        "12 of 3,248 units never change: they follow nothing",
    ]
