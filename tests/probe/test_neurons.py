"""The probe of neurons from sound to folder, with files that are not as they should be."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from affetto.data.splits import by_speaker
from affetto.errors import CorpusError, LabelError, RunError, SplitError
from affetto.features.spectrogram import loudness
from affetto.frames import Frames, Waves
from affetto.models.encoders.encoder import LayerInfo
from affetto.probe import neurons as module
from affetto.probe.folder import read_arrays, read_utterances
from affetto.probe.neurons import ARRAYS, TRACES, NeuronConfig, look, probe_neurons, read_neurons

Make = Callable[..., Path]
CLASSES = ("anger", "sadness")


def _config(tiny_model: Path, manifest: Path, **more: Any) -> NeuronConfig:
    settings = {"permutations": 9, "best": 2, "shown": 2, "classes": CLASSES, **more}
    return NeuronConfig(corpus=Path(manifest.name), recogniser=str(tiny_model), **settings)


@pytest.fixture
def probed(make_corpus: Make, tiny_model: Path, tmp_path: Path) -> Path:
    manifest = make_corpus(faulty=True)
    output = tmp_path / "probe"
    probe_neurons(_config(tiny_model, manifest), manifest.parent, output)
    return output


def test_the_folder_holds_what_was_found(probed: Path) -> None:
    found = read_neurons(probed)
    facts = found.facts
    assert facts["counts"]["units"] == sum(layer["width"] for layer in facts["layers"])
    assert {row.layer for row in found.by_layer} == {layer["name"] for layer in facts["layers"]}
    assert not set(facts["choosing"]) & set(facts["measuring"])
    assert {row.p * 10 for row in found.best} <= set(range(1, 11))
    assert set(facts["environment"]) >= {"torch", "commit"}
    assert [path.name for path in probed.parent.glob(".probe*")] == []


def test_gaps_are_reported_and_nothing_is_not_a_number(probed: Path) -> None:
    found = read_neurons(probed)
    assert list(found.facts["unreadable"]) == ["broken"]
    without = found.facts["utterances_without"]
    assert (without["loudness"], without["tilt"]) == (0, 1)  # digital silence has no tilt
    assert without["pitch"] >= 2  # nor has it a pitch, nor has a hiss
    assert found.facts["counts"]["utterances"] == 6 * 4 + 3
    assert not any(math.isnan(each) for row in found.best for each in (row.chosen, row.measured, row.low, row.p))
    json.dumps(found.facts, allow_nan=False)


def test_all_units_and_some_traces_are_kept(probed: Path) -> None:
    arrays, drawn = read_arrays(probed / ARRAYS), read_arrays(probed / TRACES)
    best = next(row for row in read_neurons(probed).best if (row.level, row.method) == ("frame", "pearson"))
    assert np.isclose(arrays["frame.pearson.measured"][0], best.measured, atol=1e-5).any()
    first = read_neurons(probed).facts["traces"][0]
    times_s, activation, target = drawn[f"{first['utterance']}/{first['target']}"]
    assert np.diff(times_s) == pytest.approx(0.04, abs=1e-6)
    assert np.corrcoef(activation, target)[0, 1] == pytest.approx(first["r"], abs=1e-3)


def test_the_same_seed_finds_the_same(make_corpus: Make, tiny_model: Path, tmp_path: Path) -> None:
    manifest = make_corpus(4)
    first, second, other = (
        str(probe_neurons(_config(tiny_model, manifest, seed=seed), manifest.parent, tmp_path / name).best)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == second != other


class Telling:
    """An encoder one of whose units is how loud it is, and another the sum of the wave's signs."""

    layers = (LayerInfo("first", 2, 100.0), LayerInfo("second", 3, 50.0))
    fingerprint = "telling"
    device = torch.device("cpu")

    def represent(self, waves: Waves, layers: Collection[str]) -> dict[str, Frames]:
        assert set(layers) == {"first", "second"}
        loud = loudness(waves)
        noise = torch.randn((*loud.values.shape[:2], 3), generator=torch.Generator().manual_seed(1))
        second = Frames(torch.cat([noise[..., :2], loud.values.log1p()], dim=2)[:, ::2], (loud.lengths + 1) // 2)
        first = Frames(torch.cat([noise[..., :1], -(loud.values**2)], dim=2), loud.lengths)
        return {"first": first.zero_padding(), "second": second.zero_padding()}


def test_planted_units_are_found_in_layers_of_two_rates(make_corpus: Make, tiny_model: Path) -> None:
    manifest = make_corpus(4)
    utterances = read_utterances(_config(tiny_model, manifest), manifest.parent)
    found = look(Telling(), utterances, _config(tiny_model, manifest, permutations=99))
    loud = {
        row.layer: (row.number, row.measured, row.p)
        for row in found.by_layer
        if (row.level, row.method, row.target) == ("frame", "spearman", "loudness")
    }
    assert loud["first"] == (1, pytest.approx(-1.0, abs=1e-6), pytest.approx(0.01))
    assert loud["second"][0] == 2
    assert loud["second"][1] > 0.8


def test_batches_change_nothing(
    make_corpus: Make, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = make_corpus(4)
    together = probe_neurons(_config(tiny_model, manifest), manifest.parent, tmp_path / "a")
    monkeypatch.setattr("affetto.probe.frame_reader.CHUNK_UTTERANCES", 3)
    apart = probe_neurons(_config(tiny_model, manifest), manifest.parent, tmp_path / "b")
    ours = [(row.layer, row.number, row.measured) for row in together.best if row.level == "frame"]
    theirs = [(row.layer, row.number, row.measured) for row in apart.best if row.level == "frame"]
    for (*unit, r), (*other, s) in zip(ours, theirs, strict=True):
        assert unit == other
        assert r == pytest.approx(s, abs=1e-4)


def test_a_network_never_trained_is_another(make_corpus: Make, tiny_model: Path, tmp_path: Path) -> None:
    manifest = make_corpus(2)
    found = [
        probe_neurons(_config(tiny_model, manifest, untrained=each), manifest.parent, tmp_path / str(each))
        for each in (False, True)
    ]
    assert found[0].facts["encoder_fingerprint"] != found[1].facts["encoder_fingerprint"]
    assert found[0].facts["layers"] == found[1].facts["layers"]


@pytest.mark.parametrize(
    ("speakers", "more", "error", "says"),
    [
        (1, {}, SplitError, "1 group"),
        (2, {"classes": ("anger", "joy")}, LabelError, "no utterance counts as joy"),
        (2, {"show": ("nobody",)}, CorpusError, "no utterance 'nobody'"),
        (2, {"corpus": Path("elsewhere")}, CorpusError, "elsewhere"),
    ],
)
def test_what_cannot_be_probed_is_refused(  # noqa: PLR0917
    speakers: int,
    more: dict[str, Any],
    error: type[Exception],
    says: str,
    make_corpus: Make,
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    manifest = make_corpus(speakers)
    config = _config(tiny_model, manifest)
    with pytest.raises(error, match=says):
        probe_neurons(NeuronConfig.parse({**config.model_dump(), **more}), manifest.parent, tmp_path / "probe")
    assert not list(tmp_path.glob("*probe*"))


def test_a_half_without_sound_is_reported(make_corpus: Make, tiny_model: Path, tmp_path: Path) -> None:
    manifest = make_corpus(2)
    config = _config(tiny_model, manifest)
    victim = by_speaker(read_utterances(config, manifest.parent)[0]).rpartition("/")[2]
    for path in manifest.parent.glob(f"{victim}-*.wav"):
        path.write_bytes(b"RIFF")
    with pytest.raises(CorpusError, match="no sound of the speakers who"):
        probe_neurons(config, manifest.parent, tmp_path / "probe")


def test_a_folder_that_is_there_is_left_alone(probed: Path, make_corpus: Make, tiny_model: Path) -> None:
    with pytest.raises(RunError, match="is there already"):
        probe_neurons(_config(tiny_model, Path("manifest.jsonl")), Path(), probed)


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("probe.json", None, "no probe's folder"),
        ("probe.json", "{", "cannot be read"),
        ("probe.json", "[]", "not of version 1"),
        ("probe.json", '{"version": 1, "kind": "layers"}', "a probe of layers"),
        ("best.csv", "level\nframe\n", "the header is another"),
        ("best.csv", None, "cannot be read"),
    ],
)
def test_a_damaged_folder_is_reported(probed: Path, file: str, content: str | None, says: str) -> None:
    (probed / file).unlink()
    if content is not None:
        (probed / file).write_text(content, encoding="utf-8")
    with pytest.raises(RunError, match=says):
        read_neurons(probed)


def test_nothing_is_left_where_writing_fails(
    make_corpus: Make, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.folder, "write_arrays", full)
    manifest = make_corpus(2)
    with pytest.raises(RunError, match="No space left"):
        probe_neurons(_config(tiny_model, manifest), manifest.parent, tmp_path / "probe")
    assert not list(tmp_path.glob("*probe*"))
