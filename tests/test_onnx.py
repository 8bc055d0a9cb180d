"""Models as ONNX graphs: they compute what torch computes, and say what a caller has to know."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import affetto
from affetto import audio
from affetto.cli import main
from affetto.errors import CheckpointError, ConfigError
from affetto.frames import pad_waves
from affetto.models.decoding import DecoderChoice
from affetto.models.heads import EmotionHead
from affetto.models.heads.kinds import MeanPoolingConfig
from affetto.onnx import OnnxRecogniser
from affetto.onnx.description import DESCRIPTION, DETECTOR, GRAPH, read_description
from affetto.onnx.runtime import OnnxDetector
from affetto.recognise import EmotionRecogniser
from affetto.recording import Recording
from affetto.streaming import Failure, Samples
from affetto.streaming.activity import FRAME
from affetto.streaming.detector import speech_detector
from affetto.streaming.segments import Spoken, cut, join

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

REPOSITORY = Path(__file__).resolve().parent.parent
DEMO = sorted((Path(affetto.__file__).parent / "demo").glob("*.flac"))
CLIPS = ("1076_IEO_ANG_HI", "1080_TIE_SAD_XX", "1085_DFA_NEU_XX", "1091_WSI_HAP_XX")


class Computed(NamedTuple):
    log_probs: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    distance: float


@pytest.fixture(scope="module")
def quantised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx") / "int8"
    with pytest.raises(SystemExit):
        main(["model", "export", "--precision", "int8", "--output", str(folder)])
    return folder


@pytest.fixture(scope="module")
def recogniser() -> EmotionRecogniser:
    return EmotionRecogniser.from_pretrained("tiny", "cpu", DecoderChoice("greedy"), precision="float32")


def by_graph(folder: Path, spoken: Spoken) -> Computed:
    session = onnxruntime.InferenceSession(folder / GRAPH)
    speech = np.array([spoken.start - spoken.since, spoken.end - spoken.since])
    return Computed(*session.run(None, {"wave": spoken.wave, "speech": speech}))


@torch.inference_mode()
def by_torch(recogniser: EmotionRecogniser, spoken: Spoken) -> Computed:
    waves = join([spoken])
    layers, output = recogniser.encoder.encode(waves, recogniser.emotion.layers)
    vectors = recogniser.emotion.represent(recogniser.given(waves, layers))
    probabilities = (recogniser.emotion.output(vectors) / recogniser.temperature).softmax(dim=-1)
    assert output is not None
    assert recogniser.emotion.familiarity is not None
    distance = float(recogniser.emotion.familiarity.distance(vectors))
    return Computed(output.values[0].numpy(), probabilities[0].numpy(), distance)


def assert_alike(found: Computed, expected: Computed, atol: float = 1e-3) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=atol, rtol=0)


@pytest.mark.parametrize("path", DEMO, ids=lambda path: path.stem)
def test_a_graph_computes_what_torch_does(exported: Path, recogniser: EmotionRecogniser, path: Path) -> None:
    (spoken,) = cut([audio.load(path)])
    assert_alike(by_graph(exported, spoken), by_torch(recogniser, spoken))


@pytest.mark.parametrize("name", CLIPS)
def test_so_it_does_of_acted_clips(exported: Path, recogniser: EmotionRecogniser, data_root: Path, name: str) -> None:
    (path,) = (data_root / "crema-d").rglob(f"{name}.*")
    for spoken in cut([audio.load(path)]):
        assert_alike(by_graph(exported, spoken), by_torch(recogniser, spoken))


@pytest.mark.parametrize(
    ("samples", "speech"), [(2_400, (0, 2_400)), (16_077, (9_000, 9_001)), (288_000, (0, 250_001))]
)
def test_so_it_does_of_any_length(
    exported: Path, recogniser: EmotionRecogniser, samples: int, speech: tuple[int, int]
) -> None:
    sound = torch.cat([audio.load(path) for path in DEMO] * 2)[:samples]
    spoken = Spoken(speech[0], speech[1], 0, sound.numpy())
    assert_alike(by_graph(exported, spoken), by_torch(recogniser, spoken))


def test_a_graph_in_int8_is_smaller_and_nearly_the_same(
    exported: Path, quantised: Path, recogniser: EmotionRecogniser
) -> None:
    assert (quantised / GRAPH).stat().st_size < 0.6 * (exported / GRAPH).stat().st_size
    # processors of AVX2 alone add products of bytes up in other ways: .052 apart was seen
    apart = 0.03 if torch.backends.cpu.get_cpu_capability() != "AVX2" else 0.06
    for path in DEMO:
        (spoken,) = cut([audio.load(path)])
        found, expected = by_graph(quantised, spoken), by_torch(recogniser, spoken)
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=apart)
        assert found.distance == pytest.approx(expected.distance, abs=apart)


def test_the_description_says_what_the_graph_is(exported: Path, recogniser: EmotionRecogniser) -> None:
    found = read_description(exported)
    assert (found.model, found.precision, found.sample_rate_hz) == ("tiny", "float32", 16_000)
    assert found.fingerprint == recogniser.fingerprint()
    assert found.emotions == recogniser.emotions
    assert found.characters == " 'abcdefghijklmnopqrstuvwxyz"
    (opinion,) = recogniser.predict(pad_waves([torch.zeros(16_000)]))
    (spoken,) = [Spoken(0, 16_000, 0, np.zeros(16_000, np.float32))]
    assert found.familiar_up_to is not None
    assert opinion.familiar == (by_graph(exported, spoken).distance <= found.familiar_up_to)
    assert "ODbL" in found.licence
    assert "MIT" in found.licence


def test_a_damaged_description_is_refused(tmp_path: Path) -> None:
    (tmp_path / DESCRIPTION).write_text("{}")
    with pytest.raises(CheckpointError, match="describes no exported model"):
        read_description(tmp_path)


def test_a_head_that_reads_words_is_refused(recogniser: EmotionRecogniser) -> None:
    from affetto.onnx.export import _stretch

    head = EmotionHead(MeanPoolingConfig(layer=("layer4", "text")), ("anger", "sadness"), {"layer4": 384, "text": 8})
    with pytest.raises(ConfigError, match="tiny: a head that reads words cannot be exported"):
        _stretch(EmotionRecogniser(recogniser.encoder, head, None))


def test_models_of_other_kinds_are_refused(tmp_path: Path) -> None:
    from affetto.onnx.export import export_model

    with pytest.raises(ConfigError, match="small: its recogniser is of a kind that cannot be exported"):
        export_model("small", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def assert_same(found: Recording | Failure, expected: Recording | Failure) -> None:
    """The same emotion, words and times; numbers to a thousandth."""
    assert isinstance(found, Recording)
    assert isinstance(expected, Recording)
    assert (found.source, found.statement, found.transcript) == (
        expected.source,
        expected.statement,
        expected.transcript,
    )
    assert found.probabilities == pytest.approx(expected.probabilities, abs=1e-3)
    for ours, theirs in zip(found.segments, expected.segments, strict=True):
        assert (ours.start_s, ours.end_s, ours.familiar) == (theirs.start_s, theirs.end_s, theirs.familiar)
        for one, other in zip(ours.words, theirs.words, strict=True):
            assert one[:3] == other[:3]
            assert one.confidence == pytest.approx(other.confidence, abs=1e-3)


def test_recordings_are_recognised_as_by_torch(exported: Path, recogniser: EmotionRecogniser) -> None:
    by_graphs = OnnxRecogniser(exported, threads=1)
    assert by_graphs.emotions == recogniser.emotions
    for found, expected in zip(by_graphs.recognise_many(DEMO), recogniser.recognise_many(DEMO), strict=True):
        assert_same(found, expected)


def test_so_are_samples_and_live_sound(exported: Path, recogniser: EmotionRecogniser) -> None:
    by_graphs = OnnxRecogniser(exported, threads=1)
    sound = torch.cat([audio.load(path) for path in DEMO])
    found, silent = by_graphs.recognise_many([Samples(sound, 16_000), Samples(np.zeros(16_000), 16_000)])
    assert_same(found, recogniser.recognise_samples(sound, 16_000))
    assert isinstance(silent, Recording)
    assert silent.emotion is None
    words = [word.text for each in by_graphs.follow(sound.split(1600)) for word in each.words]
    assert words == [word.text for each in recogniser.follow(sound.split(1600)) for word in each.words]


def test_nothing_of_torch_is_needed(exported: Path, recogniser: EmotionRecogniser) -> None:
    program = (
        "import json, sys\n"
        "sys.modules['torch'] = None\n"
        "from affetto.errors import MissingExtraError\n"
        "from affetto.onnx import OnnxRecogniser\n"
        "folder, *paths = sys.argv[1:]\n"
        "recogniser = OnnxRecogniser(folder, threads=1)\n"
        "found = recogniser.recognise_many(paths)\n"
        "print(json.dumps([[each.statement, [word for s in each.segments for word in s.words]] for each in found]))\n"
        "try: recogniser.recognise(paths[0], speakers=2)\n"
        "except MissingExtraError as error: print(error, file=sys.stderr)"
    )
    command = [sys.executable, "-c", program, str(exported), *map(str, DEMO)]
    run = subprocess.run(command, capture_output=True, check=True)
    assert run.stderr.decode().splitlines()[-1] == "what tells speakers apart needs torch; pip install torch"
    found = json.loads(run.stdout)
    assert len(found) == len(DEMO)
    for path, (statement, words) in zip(DEMO, found, strict=True):
        expected = recogniser.recognise(path)
        assert statement == expected.statement
        assert [word[:3] for word in words] == [list(w[:3]) for s in expected.segments for w in s.words]


@pytest.mark.parametrize("path", DEMO, ids=lambda path: path.stem)
def test_the_detector_says_what_torch_says(exported: Path, path: Path) -> None:
    sound = audio.load(path)
    frames = sound[: len(sound) // FRAME * FRAME].view(-1, FRAME).numpy()
    ours, theirs = OnnxDetector(exported / DETECTOR), speech_detector()
    one, other = ours.forget(), theirs.forget()
    for block in (frames[:1], frames[1:50], frames[50:]):  # its state goes along
        found, one = ours.probabilities(block, one)
        expected, other = theirs.probabilities(block, other)
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_damaged_graph_is_refused(exported: Path, tmp_path: Path) -> None:
    for each in exported.iterdir():
        (tmp_path / each.name).write_bytes(each.read_bytes()[: 1000 if each.name == GRAPH else None])
    with pytest.raises(CheckpointError, match=r"model.onnx: cannot be used \(.*; export the model again"):
        OnnxRecogniser(tmp_path)


def test_the_container_installs_what_the_docs_say() -> None:
    """And nothing that affetto itself would not."""
    installed, documented = (
        re.findall("numpy onnxruntime[a-z ]*[a-z]", (REPOSITORY / name).read_text(encoding="utf-8"))
        for name in ("examples/onnx.Dockerfile", "docs/onnx.md")
    )
    assert installed == documented
    (packages,) = documented
    declared = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*declared["dependencies"], *declared["optional-dependencies"]["onnx"]]
    assert set(packages.split()) <= {re.split("[<>=]", each)[0] for each in wanted}


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_extra_is_named(
    package: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    missing: Any = None
    for name in [each for each in sys.modules if each.partition(".")[0] == package] + [package]:
        monkeypatch.setitem(sys.modules, name, missing)
    with pytest.raises(SystemExit) as ended:
        main(["model", "export", "--output", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert capsys.readouterr().err == f'affetto: {package} is not installed; pip install "affetto[onnx]"\n'
    assert not (tmp_path / "out").exists()
