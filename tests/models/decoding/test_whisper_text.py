"""What Whisper writes is believed within bounds; it depends on no batch; languages, windows, damaged files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from tests.models.tiny_encoders import PIECES, SPECIAL, save, write_tokens
from torch import Tensor

from affetto import audio, metrics, text
from affetto.errors import CheckpointError, ConfigError
from affetto.frames import Frames, pad, pad_waves
from affetto.models.decoding import DecoderChoice, find_decoder
from affetto.models.decoding.paths import BeamConfig
from affetto.models.decoding.whisper_text import WhisperText, WhisperTextConfig
from affetto.models.decoding.whisper_tokens import Vocabulary, read_vocabulary
from affetto.models.encoders import open_encoder
from affetto.models.whisper_decoder import WhisperDecoderConfig

SIZE = 100
TOKEN = {piece.replace("\u0120", " "): token for token, piece in enumerate(PIECES)}
END, START, ENGLISH, GERMAN, _, _, NO_SPEECH, PROMPT_END = range(len(PIECES), len(PIECES) + len(SPECIAL))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save("whisper", tmp_path_factory.mktemp("whisper"))


@pytest.fixture(scope="module")
def vocabulary(folder: Path) -> Vocabulary:
    return read_vocabulary(folder, SIZE)


class Script(NamedTuple):
    """What is written of an utterance: token after token, each with this probability, all others alike."""

    tokens: list[int]
    probability: float = 0.99
    no_speech: float = 0.01


class _Place(NamedTuple):
    """Which script each line of a batch follows, and how far it is."""

    scripts: list[int]
    step: int

    @property
    def states(self) -> Tensor:
        """Which script, and which step of it: (batch, 1, 2)."""
        return torch.tensor([[[float(each), float(self.step)]] for each in self.scripts])

    def rows(self, which: Tensor) -> _Place:
        return _Place([self.scripts[place] for place in which.tolist()], self.step)


class Scripted:
    """A decoder that follows the script whose number the first state tells."""

    config = WhisperDecoderConfig(tokens=SIZE, width=2, heads=1, depth=1, feed_forward=1)

    def __init__(self, scripts: Mapping[int, Script]) -> None:
        self.scripts = scripts
        self.prompts: list[list[int]] = []
        self.tokens = torch.nn.Linear(2, SIZE, bias=False)
        self.tokens.weight.data = torch.arange(SIZE, dtype=torch.float32)[:, None].expand(-1, 2)

    def begin(self, states: Frames) -> _Place:
        return _Place(states.values[:, 0, 0].long().tolist(), -1)

    def __call__(self, tokens: Tensor, place: _Place) -> tuple[Tensor, Tensor, _Place]:
        scores = torch.stack([self._scores(self.scripts[each], place.step + 1) for each in place.scripts])
        if place.step == -1:
            self.prompts += tokens.tolist()
            scores = torch.stack([self._no_speech(each) for each in place.scripts])[:, None] + 0 * scores[:, None]
            first = torch.stack([self._scores(self.scripts[each], 0) for each in place.scripts])[:, None]
            scores = torch.cat([scores, *[first] * (tokens.shape[1] - 1)], dim=1)
        else:
            scores = scores[:, None]
        attended = torch.full((1, len(place.scripts), 1, scores.shape[1], 3000), 0.1)
        return scores, attended, place._replace(step=place.step + 1)

    def _scores(self, script: Script, step: int) -> Tensor:
        wanted = [*script.tokens, END][min(step, len(script.tokens))]
        scores = torch.full((SIZE,), (1 - script.probability) / (SIZE - 1))
        scores[wanted] = script.probability
        return scores.log()

    def _no_speech(self, number: int) -> Tensor:
        scores = torch.full((SIZE,), (1 - self.scripts[number].no_speech) / (SIZE - 1))
        scores[NO_SPEECH] = self.scripts[number].no_speech
        return scores.log()


Write = Callable[..., list[str]]


@pytest.fixture
def write(vocabulary: Vocabulary) -> Write:
    """The texts of utterances that follow scripts, as many frames long."""

    def texts(*scripts: Script, frames: int = 100, config: WhisperTextConfig | None = None) -> list[str]:
        decoder = Scripted(dict(enumerate(scripts)))
        writer = _writer(decoder, vocabulary, config)
        states = pad([torch.full((frames, 2), float(number)) for number in range(len(scripts))])
        return [spelling.text for spelling in writer(states)]

    return texts


def _writer(decoder: Scripted, vocabulary: Vocabulary, config: WhisperTextConfig | None = None) -> WhisperText:
    silence = torch.zeros(1500, 2)
    return WhisperText(decoder, vocabulary, ((0, 0),), config or WhisperTextConfig(), silence)  # type: ignore[arg-type]


def _tokens(said: str) -> list[int]:
    return [TOKEN[f" {letter}"] for letter in said.split()]


def test_tokens_become_words(write: Write) -> None:
    assert write(Script(_tokens("a b c")), Script(_tokens("d"))) == ["a b c", "d"]


def test_words_have_vectors_and_what_says_nothing_has_none(vocabulary: Vocabulary) -> None:
    said = [TOKEN[" b"], TOKEN["."], TOKEN[" c"], TOKEN["a"], TOKEN[","]]
    decoder = Scripted({0: Script(_tokens("a")), 1: Script(said), 2: Script([], no_speech=0.9), 3: Script(said)})
    rows = [torch.full((length, 2), float(number)) for number, length in enumerate((90, 100, 80, 100))]
    first, second, nobody, _ = _writer(decoder, vocabulary).write(pad(rows))
    assert (second.spelling.text, nobody.spelling.text) == ("b ca", "")
    text, states = second.layers["text"], second.layers["decoder"]
    assert text.values.tolist() == [[float(token)] * 2 for token in (TOKEN[" b"], TOKEN[" c"], TOKEN["a"])]
    assert states.values.tolist() == [[1.0, 0.0], [1.0, 2.0], [1.0, 3.0]]  # of the steps at which they were written
    assert text.times_s == states.times_s == tuple(sorted(text.times_s))
    assert 0 < text.times_s[0] < text.times_s[-1] < 2
    assert first.layers["decoder"].values.tolist() == [[0.0, 0.0]]
    assert {name: (len(each.values), each.times_s) for name, each in nobody.layers.items()} == {
        "text": (0, ()),
        "decoder": (0, ()),
    }


def test_a_phrase_that_is_repeated_without_an_end_is_written_once(write: Write) -> None:
    assert write(Script(_tokens("c") + _tokens("a b") * 99, 0.99999999), frames=500) == ["c a b"]
    assert write(Script(_tokens("a b") * 2)) == ["a b a b"]


def test_what_only_repeats_itself_is_not_believed(write: Write) -> None:
    assert write(Script(_tokens("a b") * 50, 0.99999999), frames=1500) == [""]


def test_where_the_likeliest_tokens_repeat_themselves_others_are_tried(write: Write) -> None:
    [said] = write(Script(_tokens("a b") * 50, 0.9), frames=1500)
    assert len(said.split()) > len({*said.split()}) > 2


def test_what_is_unlikely_is_written_unless_nobody_speaks(write: Write) -> None:
    unlikely = Script(_tokens("a b c"), 0.2)
    assert write(unlikely._replace(no_speech=0.7), Script(_tokens("a"), 0.9, 0.7)) == ["", "a"]
    assert write(Script(_tokens("a"), 0.9, 0.81)) == [""]
    [said] = write(unlikely)
    assert said
    assert write(unlikely, config=WhisperTextConfig(temperatures=(0.0,))) == ["a b c"]


def test_chance_draws_the_same_whatever_else_is_in_the_batch(write: Write) -> None:
    scripts = [Script(_tokens("a b c") * 3, 0.3), Script(_tokens("d e f"), 0.2), Script(_tokens("g"))]
    together = write(*scripts)
    assert together == write(*scripts) == [write(script)[0] for script in scripts]


def test_an_attempt_by_chance_is_another(write: Write) -> None:
    script, by_chance = Script(_tokens("a b c") * 3, 0.3), WhisperTextConfig(temperatures=(1.0,))
    assert write(script, config=by_chance) != write(script)
    assert write(script, config=by_chance) == write(script, config=by_chance)


def test_signs_that_nobody_says_are_not_written(write: Write, vocabulary: Vocabulary) -> None:
    assert {TOKEN["("], TOKEN[" ("], START, GERMAN, NO_SPEECH, SIZE - 1} <= vocabulary.unspoken
    assert END not in vocabulary.unspoken
    assert vocabulary.unspoken_first == {TOKEN[" "], END}
    [said] = write(Script([TOKEN[" ("], *_tokens("a")]), config=WhisperTextConfig(temperatures=(0.0,)))
    assert said.endswith("a")


def test_what_may_be_written_is_as_its_makers_say(tmp_path: Path) -> None:
    write_tokens(tmp_path)
    settings = {"suppress_tokens": [1, 2], "begin_suppress_tokens": [3], "is_multilingual": False}
    (tmp_path / "generation_config.json").write_text(json.dumps(settings))
    found = read_vocabulary(tmp_path, SIZE)
    assert {1, 2} <= found.unspoken
    assert TOKEN["("] not in found.unspoken
    assert found.unspoken_first == {3}
    assert not found.multilingual


def test_nobody_writes_faster_than_anyone_speaks(write: Write) -> None:
    [said] = write(Script([TOKEN[" " + letter] for letter in "abcdefghijklmnopqrstuvwxyz"]), frames=50)
    assert said.split() == list("abcdefghijklmnop")  # 8, and 8 a second


@pytest.mark.parametrize(("language", "token"), [("en", ENGLISH), ("de", GERMAN)])
def test_the_language_stands_in_the_prompt(vocabulary: Vocabulary, language: str, token: int) -> None:
    decoder = Scripted({0: Script(_tokens("a"))})
    writer = _writer(decoder, vocabulary, WhisperTextConfig(language=language))
    writer(pad([torch.zeros(9, 2)]))
    assert decoder.prompts == [[START, token, PROMPT_END - 2, PROMPT_END]]
    assert writer.name == f"Whisper's decoder, language {language}"


def test_auto_takes_the_language_that_is_most_probable(vocabulary: Vocabulary) -> None:
    decoder = Scripted({0: Script(_tokens("a")), 1: Script(_tokens("b"))})
    decoder._no_speech = lambda number: torch.eye(SIZE)[GERMAN if number else ENGLISH]  # type: ignore[method-assign]
    writer = _writer(decoder, vocabulary, WhisperTextConfig(language="auto"))
    writer(pad([torch.zeros(9, 2), torch.ones(9, 2)]))
    assert [prompt[1] for prompt in decoder.prompts[2:]] == [ENGLISH, GERMAN]


def test_a_model_of_english_alone_has_no_language_in_its_prompt(tmp_path: Path) -> None:
    write_tokens(tmp_path, multilingual=False)
    found = read_vocabulary(tmp_path, SIZE)
    assert found.languages == {}
    assert found.prompt(None) == [START, PROMPT_END]


def test_long_utterances_are_written_in_windows(vocabulary: Vocabulary) -> None:
    decoder = Scripted({0: Script(_tokens("a")), 1: Script(_tokens("b"))})
    writer = _writer(decoder, vocabulary)
    states = torch.cat([torch.zeros(1500, 2), torch.ones(700, 2)])
    [found] = writer(pad([states]))
    assert found.text == "a b"
    [written] = writer.write(pad([states]))
    assert written.layers["decoder"].values.tolist() == [[0.0, 0.0], [1.0, 0.0]]
    assert [time_s > 30 for time_s in written.layers["text"].times_s] == [False, True]
    assert (
        0 <= found.words[0].start_s < found.words[0].end_s <= 30 <= found.words[1].start_s < found.words[1].end_s <= 44
    )


@pytest.mark.parametrize("named", [[[1, 0], [9, 9], "x"], 5, {"a": 1}, None], ids=str)
def test_heads_that_are_none_of_the_decoders_are_passed_over(folder: Path, tmp_path: Path, named: Any) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "generation_config.json").write_text(json.dumps({"alignment_heads": named}))
    writer = find_decoder(open_encoder(tmp_path, device="cpu"))
    assert isinstance(writer, WhisperText)
    assert writer.heads == (((1, 0),) if isinstance(named, list) else ((1, 0), (1, 1)))


def test_what_spells_nothing_is_never_written(vocabulary: Vocabulary) -> None:
    assert set(range(SIZE)) - vocabulary.unspoken <= {*vocabulary.spelt, END}


@pytest.mark.parametrize("frames", [1, 2, 40])
def test_batch_mates_and_padding_change_nothing(folder: Path, frames: int) -> None:
    encoder = open_encoder(folder, device="cpu")
    decode = find_decoder(encoder, DecoderChoice(language="de"))
    noise = torch.Generator().manual_seed(frames)
    waves = [torch.randn(length, generator=noise) for length in (320 * frames, 5000, 40_000)]
    together = decode(encoder.encode(pad_waves(waves), []).output)
    for wave, ours in zip(waves, together, strict=True):
        [alone] = decode(encoder.encode(pad_waves([wave]), []).output)
        assert ours.text == alone.text
        assert [word.start_s for word in ours.words] == [word.start_s for word in alone.words]
        assert [word.confidence for word in ours.words] == pytest.approx([word.confidence for word in alone.words])


@pytest.mark.parametrize(
    ("choice", "problem"),
    [
        (DecoderChoice(language="xx"), "no language 'xx'; choose auto or de, en"),
        (DecoderChoice(method="beam"), "takes neither method nor language model"),
        (DecoderChoice(language_model=Path("a")), "takes neither method nor language model"),
        (DecoderChoice(beam=BeamConfig(width=3)), "takes neither method nor language model"),
    ],
    ids=str,
)
def test_what_it_cannot_do_is_refused(folder: Path, choice: DecoderChoice, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        find_decoder(open_encoder(folder, device="cpu"), choice)


def test_other_recognisers_know_no_languages(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no choice of language, 'de' or other; leave it out"):
        find_decoder(open_encoder(save("deepspeech2", tmp_path), device="cpu"), DecoderChoice(language="de"))


def test_a_model_of_english_alone_knows_english(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    write_tokens(tmp_path, multilingual=False)
    encoder = open_encoder(tmp_path, device="cpu")
    for language in (None, "en", "auto"):
        assert find_decoder(encoder, DecoderChoice(language=language)).name == "Whisper's decoder"
    with pytest.raises(ConfigError, match="no language 'de' in a model of English alone"):
        find_decoder(encoder, DecoderChoice(language="de"))


def test_the_fingerprint_tells_decoders_apart(folder: Path, tmp_path: Path) -> None:
    encoder = open_encoder(folder, device="cpu")
    other = open_encoder(save("whisper", tmp_path, seed=1), device="cpu")
    writers = [find_decoder(encoder), find_decoder(other), find_decoder(encoder, DecoderChoice(language="de"))]
    assert isinstance(writers[0], WhisperText)
    writers.append(replace(writers[0], config=WhisperTextConfig(log_prob=-2)))
    assert find_decoder(encoder).fingerprint == writers[0].fingerprint
    assert len({each.fingerprint for each in writers}) == 4


def _drop(path: Path) -> None:
    path.unlink()


def _elsewhere(path: Path) -> None:
    path.write_text(path.read_text().replace('"id": 6', '"id": 6000'))


def _no_start(path: Path) -> None:
    path.write_text(path.read_text().replace("startoftranscript", "beginning"))


def _no_object(path: Path) -> None:
    path.write_text('{"model": []}')


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (_drop, "cannot be read"),
        (_elsewhere, "no vocabulary of this decoder"),
        (_no_start, "no vocabulary of this decoder"),
        (_no_object, "no vocabulary of Whisper"),
    ],
)
def test_a_damaged_vocabulary_is_refused(
    folder: Path, tmp_path: Path, damage: Callable[[Path], None], problem: str
) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    damage(tmp_path / "tokenizer.json")
    with pytest.raises(CheckpointError, match=problem):
        find_decoder(open_encoder(tmp_path, device="cpu"))


@pytest.mark.parametrize("tokens", ["1", [-1], [1.5], {"a": 1}], ids=str)
def test_settings_that_are_no_tokens_are_refused(tmp_path: Path, tokens: Any) -> None:
    write_tokens(tmp_path)
    (tmp_path / "generation_config.json").write_text(json.dumps({"suppress_tokens": tokens}))
    with pytest.raises(CheckpointError, match="suppress_tokens is no list of tokens"):
        read_vocabulary(tmp_path, SIZE)


@pytest.fixture(scope="module")
def real() -> Path:
    folder = Path(os.environ.get("AFFETTO_WHISPER", "")) / "whisper-tiny.en"
    if not (folder / "config.json").is_file():
        pytest.skip("no whisper-tiny.en in the folder that AFFETTO_WHISPER names")
    return folder


@pytest.fixture(scope="module")
def speech(data_root: Path) -> dict[str, Tensor]:
    """Transcript -> sound of some utterances of LibriSpeech."""
    folder = data_root / "speech" / "LibriSpeech"
    if not folder.is_dir():
        pytest.skip(f"no LibriSpeech in {folder}")
    found = {}
    for path in sorted(folder.rglob("*.trans.txt"))[:6]:
        for line in path.read_text().splitlines()[:2]:
            name, _, said = line.partition(" ")
            found[text.normalise(said)] = audio.load(path.parent / f"{name}.mp3")
    return found


def test_the_published_model_writes_what_is_said(real: Path, speech: dict[str, Tensor]) -> None:
    encoder = open_encoder(real, device="cpu")
    decode = find_decoder(encoder)
    with torch.inference_mode():
        found = decode(encoder.encode(pad_waves(list(speech.values())), []).output)
    assert metrics.wer(list(speech), [each.text for each in found]) < 0.16
    for spelling, wave in zip(found, speech.values(), strict=True):
        times = [time for word in spelling.words for time in (word.start_s, word.end_s)]
        assert times == sorted(times)
        assert 0 <= times[0] < times[-1] <= len(wave) / 16_000
        assert all(0 < word.confidence <= 1 for word in spelling.words)


def test_the_published_model_tells_when_words_are_said(real: Path, speech: dict[str, Tensor]) -> None:
    encoder = open_encoder(real, device="cpu")
    decode = find_decoder(encoder)
    first, second = sorted(speech.values(), key=len)[:2]
    pause = torch.zeros(32_000)
    [found] = decode(encoder.encode(pad_waves([torch.cat([first, pause, second])]), []).output)
    middle_s = (len(first) + 16_000) / 16_000
    before = [word.text for word in found.words if word.start_s < middle_s]
    said = next(each for each, wave in speech.items() if wave is first)
    assert metrics.wer([said], [" ".join(before)]) < 0.3


@pytest.mark.parametrize("noise", [0.0, 1e-3, 0.1])
def test_the_published_model_invents_nothing_where_nobody_speaks(real: Path, noise: float) -> None:
    encoder = open_encoder(real, device="cpu")
    wave = noise * torch.randn(5 * 16_000, generator=torch.Generator().manual_seed(0))
    [found] = find_decoder(encoder)(encoder.encode(pad_waves([wave]), []).output)
    assert found.text == ""
