"""What was said as layers: against transformers' own vectors, whatever the batch, with and without words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from tests.models.tiny_encoders import save, text_encoder

from affetto.errors import CheckpointError, ConfigError
from affetto.frames import Frames, pad
from affetto.models.encoders import open_encoder
from affetto.models.encoders.encoder import LayerInfo, Origin, Tokens, Written
from affetto.models.encoders.text import TextEncoder
from affetto.models.heads import head_config
from affetto.models.words import TranscriptConfig, WordReader, open_reader, reopen_reader
from affetto.recording import Spelling, Word


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return text_encoder(tmp_path_factory.mktemp("text") / "model")


@pytest.fixture(scope="module")
def encoder(folder: Path) -> TextEncoder:
    return TextEncoder.open(folder, Origin(str(folder), "folder"))


def _spelling(text: str) -> Spelling:
    words = [Word(word, float(place), place + 0.5, 0.9) for place, word in enumerate(text.split())]
    return Spelling(text, tuple(words))


def _given(folder: Path, text: str) -> torch.Tensor:
    """What transformers' own model makes of a text, (tokens, width), with the marks around it."""
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModel.from_pretrained(folder).eval()
    given = transformers.AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    with torch.no_grad():
        states: torch.Tensor = model(**given).last_hidden_state[0]
    return states


@pytest.mark.parametrize("text", ["the", "don't go to the end", "a"])
def test_vectors_are_the_last_states_of_the_tokens(folder: Path, encoder: TextEncoder, text: str) -> None:
    found = encoder(_spelling(text))
    torch.testing.assert_close(found.values, _given(folder, text)[1:-1])
    sizes = [1 if word == "the" else len(word) for word in text.split()]  # of the other words each letter is a token
    assert found.times_s == tuple(place + 0.25 for place, size in enumerate(sizes) for _ in range(size))


def test_of_a_text_that_is_too_long_the_end_is_left_out(folder: Path, encoder: TextEncoder) -> None:
    text = "the " * 40
    found = encoder(_spelling(text.strip()))
    torch.testing.assert_close(found.values, _given(folder, "the " * 30)[1:-1])  # 32 places, two of them for the marks
    assert len(found.times_s) == 30


def test_a_text_without_words_has_no_tokens(encoder: TextEncoder) -> None:
    found = encoder(Spelling("", ()))
    assert (found.values.shape, found.times_s) == ((0, 12), ())


def test_a_file_may_lack_what_is_not_read(folder: Path, encoder: TextEncoder, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    bare = Path(shutil.copytree(folder, tmp_path / "bare"))
    weights = load_file(bare / "model.safetensors")
    save_file({name: each for name, each in weights.items() if "pooler" not in name}, bare / "model.safetensors")
    assert TextEncoder.open(bare, Origin("bare", "folder")).fingerprint == encoder.fingerprint


def test_the_fingerprint_tells_text_encoders_apart(folder: Path, encoder: TextEncoder, tmp_path: Path) -> None:
    other = text_encoder(tmp_path / "other", seed=1)
    again = Path(shutil.copytree(folder, tmp_path / "again"))
    words = Path(shutil.copytree(folder, tmp_path / "words"))
    values = json.loads((words / "tokenizer.json").read_text())
    values["model"]["vocab"]["the"], values["model"]["vocab"]["a"] = 4, values["model"]["vocab"]["the"]
    (words / "tokenizer.json").write_text(json.dumps(values))
    prints = [TextEncoder.open(each, Origin("x", "folder")).fingerprint for each in (other, again, words)]
    assert prints[1] == encoder.fingerprint
    assert len({*prints}) == 3


@pytest.mark.parametrize("kind", ["whisper", "hubert"])
def test_a_speech_model_is_no_text_encoder(kind: str, tmp_path: Path) -> None:
    where = save(kind, tmp_path / kind)
    with pytest.raises(CheckpointError, match=f"is of the kind '{kind}', no text encoder"):
        TextEncoder.open(where, Origin(str(where), "folder"))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("content", [None, b"{", b'{"model": 3}'])
def test_a_missing_or_damaged_file_is_named(folder: Path, tmp_path: Path, name: str, content: bytes | None) -> None:
    where = Path(shutil.copytree(folder, tmp_path / "model"))
    (where / name).unlink() if content is None else (where / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=str(where)):
        TextEncoder.open(where, Origin(str(where), "folder"))


class Dictated:
    """A decoder that writes what it is given: of each utterance the text whose number its states tell."""

    name, fingerprint, window_s = "dictated", "f", 0.0

    def __init__(self, *texts: str, own: int = 0) -> None:
        self.texts = texts
        self.layers = (LayerInfo("text", own, 0.0), LayerInfo("decoder", own, 0.0)) if own else ()

    def to(self, device: torch.device | str) -> Dictated:  # noqa: ARG002
        return self

    def __call__(self, output: Frames | None) -> list[Spelling]:
        return [each.spelling for each in self.write(output)]

    def write(self, output: Frames | None) -> list[Written]:
        assert output is not None
        return [self._written(self.texts[int(row[0, 0])]) for row in output.unpad()]

    def _written(self, text: str) -> Written:
        own = {
            layer.name: Tokens(
                torch.tensor([[float(len(word))] * layer.width for word in text.split()]).view(-1, layer.width),
                tuple(float(place) for place, _ in enumerate(text.split())),
            )
            for layer in self.layers
        }
        return Written(_spelling(text), own)


def _states(*numbers: int) -> Frames:
    return pad([torch.full((3, 1), float(number)) for number in numbers])


def test_words_are_layers_of_tokens(folder: Path, encoder: TextEncoder) -> None:
    reader = WordReader(Dictated("the end", "", "a"), encoder)
    assert reader.layers == (LayerInfo("text", 12, 0.0),)
    found = reader.read(_states(0, 1, 2), ["text"])
    assert [each.text for each in found.spellings] == ["the end", "", "a"]
    assert found.layers["text"].lengths.tolist() == [4, 1, 1]
    torch.testing.assert_close(found.layers["text"].values[0], _given(folder, "the end")[1:-1])
    assert not found.layers["text"].values[1].any()  # nobody says anything: a frame of zeros
    assert found.times_s["text"] == [(0.25, 1.25, 1.25, 1.25), (), (0.25,)]
    for number in range(3):
        alone = reader.read(_states(number), ["text"]).layers["text"]
        torch.testing.assert_close(alone.unpad()[0], found.layers["text"].unpad()[number])


def test_a_text_encoder_takes_the_place_of_the_decoders_own_vectors(encoder: TextEncoder) -> None:
    own, read = WordReader(Dictated("to go", own=5), None), WordReader(Dictated("to go", own=5), encoder)
    assert own.layers == (LayerInfo("text", 5, 0.0), LayerInfo("decoder", 5, 0.0))
    assert read.layers == (LayerInfo("text", 12, 0.0), LayerInfo("decoder", 5, 0.0))
    found = [each.read(_states(0), ["text", "decoder"]).layers for each in (own, read)]
    assert found[0]["text"].values.tolist() == [[[2.0] * 5] * 2]
    assert found[1]["text"].values.shape == (1, 4, 12)
    torch.testing.assert_close(found[0]["decoder"], found[1]["decoder"])
    assert own.fingerprint("decoder") == read.fingerprint("decoder")  # a text encoder does not touch it
    assert own.fingerprint("text") != read.fingerprint("text")


def test_a_recogniser_that_cannot_spell_has_no_words(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="spells no characters"):
        open_reader(open_encoder(save("hubert", tmp_path), device="cpu"), TranscriptConfig(encoder=str(folder)))


def test_characters_have_no_vectors_of_their_own(folder: Path, tmp_path: Path) -> None:
    encoder = open_encoder(save("deepspeech2", tmp_path), device="cpu")
    with pytest.raises(ConfigError, match=r"no vectors of the words.* name a text encoder: transcript"):
        open_reader(encoder, TranscriptConfig())
    reader = open_reader(encoder, TranscriptConfig(encoder=str(folder)))
    assert [layer.name for layer in reader.layers] == ["text"]


def test_a_text_encoder_that_is_not_there_is_named(tmp_path: Path) -> None:
    encoder = open_encoder(save("deepspeech2", tmp_path / "speech"), device="cpu")
    with pytest.raises(CheckpointError, match="missing"):
        open_reader(encoder, TranscriptConfig(encoder=str(tmp_path / "missing")))


@pytest.mark.parametrize("language", ["en", "de"])
def test_the_language_changes_what_is_written(tmp_path: Path, language: str) -> None:
    encoder = open_encoder(save("whisper", tmp_path), device="cpu")
    plain, other = (open_reader(encoder, TranscriptConfig(language=each)) for each in (None, language))
    assert (plain.fingerprint("text") == other.fingerprint("text")) == (language == "en")
    with pytest.raises(ConfigError, match="no language 'xx'"):
        open_reader(encoder, TranscriptConfig(language="xx"))


def test_what_is_reopened_is_what_it_was(folder: Path, tmp_path: Path) -> None:
    encoder = open_encoder(save("whisper", tmp_path / "speech"), device="cpu")
    config = TranscriptConfig(encoder=str(folder))
    facts = open_reader(encoder, config).facts
    assert reopen_reader(encoder, config, facts, "head").facts == facts
    other = str(text_encoder(tmp_path / "other", seed=1))
    with pytest.raises(CheckpointError, match=f"another text encoder than what is now {other}"):
        reopen_reader(encoder, config, facts | {"encoder": other}, "head")
    with pytest.raises(CheckpointError, match="another decoder or language model wrote"):
        reopen_reader(encoder, config, facts | {"decoder_fingerprint": "0"}, "head")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"layer": "gru2", "transcript": {}}, "only the layers text and decoder read a transcript"),
        ({"layer": ["gru2", "text"], "trained_from": "gru2"}, "not trained along with a head that reads words"),
        ({"layer": "text", "transcript": {"reader": "x"}}, "reader"),
    ],
)
def test_what_does_not_go_with_words_is_refused(change: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        head_config({"kind": "mean_pooling", **change})


@pytest.mark.parametrize(
    ("layer", "words"),
    [("all", None), ("gru2", None), ("text", TranscriptConfig()), (("gru2", "decoder"), TranscriptConfig())],
)
def test_a_head_says_whether_it_reads_words(layer: str | Sequence[str], words: TranscriptConfig | None) -> None:
    assert head_config({"kind": "mean_pooling", "layer": layer}).words == words
