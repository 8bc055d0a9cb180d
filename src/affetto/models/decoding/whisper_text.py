"""Text from Whisper: its decoder writes token after token, and what it writes is believed only within bounds.

After Radford et al. 2022 (4.5) and their reference code, but utterances are not filled up to 30 s. The decoder was
trained on windows in which silence follows what is said; where there is none, it begins anew. So it is given the states
of some silence after those of the utterance, computed once (docs/results/whisper.md has what that gains).

The likeliest tokens are taken; where these repeat themselves or are too unlikely, tokens are drawn by chance, at ever
higher temperatures. Nothing is written where the decoder says that nobody speaks, or can only repeat itself.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple, Self

import torch
from pydantic import Field
from torch import Tensor

from affetto.audio import SAMPLE_RATE
from affetto.config import Config
from affetto.errors import CheckpointError
from affetto.frames import Frames, pad, pad_waves
from affetto.models import checkpoint
from affetto.models.decoding.whisper_tokens import (
    Vocabulary,
    find_language,
    read_vocabulary,
    says,
    spell_tokens,
    token_starts,
)
from affetto.models.encoders.encoder import STATES, TEXT, WORD_LAYERS, LayerInfo, Tokens, Written
from affetto.models.transformers_folder import read_if_there
from affetto.models.whisper import FRAME_RATE_HZ, WhisperEncoder
from affetto.models.whisper_decoder import WhisperDecoder, load_whisper_decoder
from affetto.recording import Spelling

AUTO = "auto"
WINDOW_S = 30.0  # What is decoded at once of a longer utterance
WINDOW_FRAMES = round(WINDOW_S * FRAME_RATE_HZ)

_TOKENS_PER_S = 8.0  # nobody speaks so fast for long
_TOKENS_MORE = 8
_SILENCE_S = 5.0
_KEEP_LINES = 0.7  # where no larger share of a batch is still written, the rest is dropped


class WhisperTextConfig(Config):
    """How Whisper writes text; the defaults are its authors', but for ``surely_no_speech``, which is ours."""

    language: str = "en"  # what is spoken, such as "en"; "auto" asks the model, for each utterance
    # tried one after the other; at 0 the likeliest token is taken
    temperatures: tuple[float, ...] = Field(default=(0.0, 0.2, 0.4, 0.6, 0.8, 1.0), min_length=1)
    repetition: float = 2.4  # how many times smaller than itself a text may become by zlib
    log_prob: float = -1.0  # the lowest mean log probability of a token that is believed
    no_speech: float = 0.6  # how probable it may be that nobody speaks, where the tokens are not believed
    surely_no_speech: float = 0.8  # how probable it may be wherever


class _Attempt(NamedTuple):
    tokens: list[int]  # of text
    log_probs: list[float]  # of each, and of the end if it was written
    attention: Tensor  # (heads, tokens, frames), as many tokens as log probabilities
    states: Tensor  # (tokens, width) of the decoder when it wrote each
    no_speech: float  # the probability that nobody speaks

    @property
    def log_prob(self) -> float:
        return sum(self.log_probs) / len(self.log_probs)


class _Draft:
    """What is being written of one utterance."""

    def __init__(self, frames: int, room: int, end: int) -> None:
        self.generator = torch.Generator().manual_seed(0)  # the same whatever else is in the batch
        self.writing = True
        self._frames, self._end = frames, end
        self._room = min(room, int(_TOKENS_MORE + _TOKENS_PER_S * frames / FRAME_RATE_HZ))
        self._steps: list[tuple[int, float, Tensor, Tensor]] = []

    def take(self, token: int, log_prob: float, look: Tensor, state: Tensor) -> None:
        """One more token, unless the end was written; ``look`` (heads, frames) is where it was looked for."""
        if not self.writing:
            return
        self._steps.append((token, log_prob, look[:, : self._frames], state))
        self.writing = token != self._end and len(self._steps) < self._room

    def attempt(self, no_speech: float) -> _Attempt:
        """What was written in the end; of a phrase that was repeated until there was no room left, the first."""
        written = [token for token, *_ in self._steps if token != self._end]
        ended = len(written) < len(self._steps)
        kept = len(self._steps) if ended else _without_repetition(written)
        _, log_probs, looks, states = zip(*self._steps[:kept], strict=True)
        return _Attempt(written[:kept], [*log_probs], torch.stack(looks, dim=1), torch.stack(states), no_speech)


def _without_repetition(tokens: Sequence[int]) -> int:
    """How many tokens there are before a phrase at the end is said a second time; all if none is.

    >>> _without_repetition([5, 1, 2, 3, 1, 2, 3, 1, 2, 3]), _without_repetition([1, 2, 3])
    (4, 3)
    """
    count = len(tokens)
    for length in range(1, count // 2 + 1):
        if tokens[-length:] == tokens[-2 * length : -length]:
            begin = count - length
            while begin > 0 and tokens[begin - 1] == tokens[begin - 1 + length]:
                begin -= 1
            return begin + length
    return count


@dataclass(frozen=True)
class WhisperText:
    """The encoder's states to text and words."""

    decoder: WhisperDecoder  # in evaluation mode, where the states are
    vocabulary: Vocabulary  # its tokens
    heads: tuple[tuple[int, int], ...]  # (layer, head) of those that look at what is written next
    config: WhisperTextConfig  # how to decode
    silence: Tensor  # the encoder's states of 30 s of silence, (frames, width)

    window_s: ClassVar[float] = WINDOW_S  # as long as what it was trained on: sentences help each other

    @property
    def name(self) -> str:
        """What it does, in a few words."""
        language = f", language {self.config.language}" if self.vocabulary.multilingual else ""
        return f"Whisper's decoder{language}"

    @cached_property
    def fingerprint(self) -> str:
        """A digest of all that the text depends on beside the states."""
        return checkpoint.fingerprint(self.decoder, self.config.model_dump(mode="json"))

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """Of each token its vector in the vocabulary, which knows no sound, and the decoder's state that wrote it."""
        return tuple(LayerInfo(name, self.decoder.config.width, 0.0) for name in WORD_LAYERS)

    def to(self, device: torch.device | str) -> Self:
        """Itself, with its decoder moved to another device."""
        return replace(self, decoder=self.decoder.to(device), silence=self.silence.to(device))

    def __call__(self, states: Frames | None) -> list[Spelling]:
        """What each utterance of a batch says, from the encoder's last states, (batch, time, width)."""
        return [each.spelling for each in self.write(states)]

    @torch.inference_mode()
    def write(self, states: Frames | None) -> list[Written]:
        """The same with `layers`."""
        assert states is not None, "the encoder gives states"
        windows = [torch.split(row, WINDOW_FRAMES) for row in states.unpad()]
        written = iter(self._write_all([window for row in windows for window in row]))
        return [_joined([next(written) for _ in row]) for row in windows]

    def _write_all(self, windows: Sequence[Tensor]) -> list[Written]:
        """The same for states of at most 30 s, (frames, width) each."""
        best: dict[int, _Attempt] = {}
        left = list(range(len(windows)))
        for temperature in self.config.temperatures:
            attempts = self._write([windows[place] for place in left], temperature)
            for place, attempt in zip(left, attempts, strict=True):
                if place not in best or self._rank(attempt) > self._rank(best[place]):
                    best[place] = attempt
            left = [place for place in left if self._rank(best[place])[0] < 2 and not self._nobody(best[place])]
            if not left:
                break
        return [self._written(best[place], len(window)) for place, window in enumerate(windows)]

    def _rank(self, attempt: _Attempt) -> tuple[int, float]:
        """0 if it repeats itself, 1 if it is unlikely, 2 if it can be believed; and its log probability."""
        said = b"".join(self.vocabulary.spelt[token] for token in attempt.tokens).strip()
        if len(said) > self.config.repetition * len(zlib.compress(said)):
            return 0, attempt.log_prob
        return (2 if attempt.log_prob >= self.config.log_prob else 1), attempt.log_prob

    def _nobody(self, attempt: _Attempt) -> bool:
        unlikely = attempt.log_prob < self.config.log_prob
        return attempt.no_speech > (self.config.no_speech if unlikely else self.config.surely_no_speech)

    def _written(self, attempt: _Attempt, frames: int) -> Written:
        count = 0 if self._nobody(attempt) or self._rank(attempt)[0] == 0 else len(attempt.tokens)
        starts = [start / FRAME_RATE_HZ for start in token_starts(attempt.attention)] if count else []
        end_s = starts[count] if len(starts) > count else frames / FRAME_RATE_HZ
        pieces = [self.vocabulary.spelt[token] for token in attempt.tokens[:count]]
        spelling = spell_tokens(pieces, attempt.log_probs[:count], starts[:count], end_s) if count else Spelling("", ())
        said = [place for place, piece in enumerate(pieces) if says(piece)]
        bounds = [*starts[:count], end_s]
        times_s = tuple((bounds[place] + bounds[place + 1]) / 2 for place in said)
        vectors = self.decoder.tokens.weight[[attempt.tokens[place] for place in said]]
        states = attempt.states[:count][said]
        return Written(spelling, {TEXT: Tokens(vectors, times_s), STATES: Tokens(states, times_s)})

    def _write(self, windows: Sequence[Tensor], temperature: float) -> list[_Attempt]:
        """One attempt at each of some windows."""
        sound = pad([torch.cat([window, self._silence_after(len(window))]) for window in windows])
        prompt = self._prompts(sound)
        scores, attended, progress = self.decoder(prompt, self.decoder.begin(sound))
        silent = self.vocabulary.no_speech
        first = scores[:, 0].float().softmax(dim=-1)
        no_speech = [0.0] * len(windows) if silent is None else first[:, silent].tolist()
        room = self.decoder.config.positions - prompt.shape[1]
        drafts = [_Draft(len(window), room, self.vocabulary.end) for window in windows]
        layers, heads = zip(*self.heads, strict=True)
        later = self._mask(self.vocabulary.unspoken, scores.device)
        lines, mask = drafts, later + self._mask(self.vocabulary.unspoken_first, scores.device)
        while True:
            likely = (scores[:, -1] + mask).log_softmax(dim=-1)
            chosen = _choose(likely, temperature, [draft.generator for draft in lines])
            sure = likely.gather(1, chosen[:, None])[:, 0].tolist()
            looks = attended[list(layers), :, list(heads), -1].transpose(0, 1)  # (batch, heads, frames)
            states = progress.states[:, -1]
            for draft, *step in zip(lines, chosen.tolist(), sure, looks, states, strict=True):
                draft.take(*step)
            writing = [place for place, draft in enumerate(lines) if draft.writing]
            if not writing:
                break
            if len(writing) <= _KEEP_LINES * len(lines):
                lines, which = [lines[place] for place in writing], torch.tensor(writing, device=chosen.device)
                chosen, progress = chosen[which], progress.rows(which)
            mask = later
            scores, attended, progress = self.decoder(chosen[:, None], progress)
        return [draft.attempt(probability) for draft, probability in zip(drafts, no_speech, strict=True)]

    def _silence_after(self, frames: int) -> Tensor:
        """So much silence, from where an utterance of so many frames ends or from as near to it as there is enough."""
        length = int(_SILENCE_S * FRAME_RATE_HZ)
        begin = max(min(frames, len(self.silence) - length), 0)
        return self.silence[begin : begin + length]

    def _prompts(self, states: Frames) -> Tensor:
        if self.config.language != AUTO:
            language = find_language(self.vocabulary, self.config.language)
            rows = [self.vocabulary.prompt(language)] * len(states.values)
        elif not self.vocabulary.multilingual:
            rows = [self.vocabulary.prompt(None)] * len(states.values)
        else:
            known = torch.tensor(sorted(self.vocabulary.languages.values()), device=states.values.device)
            start = torch.full((len(states.values), 1), self.vocabulary.start, device=known.device)
            scores, _, _ = self.decoder(start, self.decoder.begin(states))
            rows = [self.vocabulary.prompt(token) for token in known[scores[:, 0, known].argmax(dim=1)].tolist()]
        return torch.tensor(rows, device=states.values.device)

    def _mask(self, tokens: Collection[int], device: torch.device) -> Tensor:
        """What is added to scores, so that these tokens are not written."""
        mask = torch.zeros(self.decoder.config.tokens, device=device)
        mask[list(tokens)] = -torch.inf
        return mask


def _joined(windows: Sequence[Written]) -> Written:
    """What was written of one utterance, window by window."""
    words = [word.later(WINDOW_S * place) for place, each in enumerate(windows) for word in each.spelling.words]
    layers = {
        name: Tokens(
            torch.cat([each.layers[name].values for each in windows]),
            tuple(WINDOW_S * place + time_s for place, each in enumerate(windows) for time_s in each.layers[name][1]),
        )
        for name in WORD_LAYERS
    }
    return Written(Spelling(" ".join(word.text for word in words), tuple(words)), layers)


def _choose(likely: Tensor, temperature: float, generators: Sequence[torch.Generator]) -> Tensor:
    """A token for each row: the likeliest, or one drawn by chance, each row by its own."""
    if temperature == 0:
        return likely.argmax(dim=-1)
    noise = torch.stack([torch.empty(likely.shape[1]).exponential_(generator=each) for each in generators])
    return (likely / temperature - noise.to(likely.device).log()).argmax(dim=-1)


def load_whisper_text(folder: Path, encoder: WhisperEncoder, config: WhisperTextConfig | None = None) -> WhisperText:
    """The decoder of the Whisper model in a folder, on its encoder's device.

    Raises CheckpointError where a file is missing or damaged, ConfigError where the model does not know the language.
    """
    decoder = load_whisper_decoder(folder).to(encoder.positions.device)
    if decoder.config.width != encoder.config.width:
        raise CheckpointError("has a decoder of another width than its encoder", "copy the model again", folder)
    vocabulary = read_vocabulary(folder, decoder.config.tokens)
    config = config or WhisperTextConfig()
    if config.language != AUTO:
        find_language(vocabulary, config.language)
    silence = pad_waves([torch.zeros(round(encoder.config.positions / FRAME_RATE_HZ * SAMPLE_RATE))])
    last = encoder.layers[-1].name
    with torch.inference_mode():
        states = encoder.represent(silence.to(encoder.positions.device), [last])[last]
    return WhisperText(decoder, vocabulary, _aligned_heads(folder, decoder), config, states.values[0])


def _aligned_heads(folder: Path, decoder: WhisperDecoder) -> tuple[tuple[int, int], ...]:
    """Those that the model's makers found to look at what is written next; else all of the upper half of the layers."""
    shape = decoder.config
    named = read_if_there(folder / "generation_config.json").get("alignment_heads")
    known = [(layer, head) for layer in range(shape.depth) for head in range(shape.heads)]
    wanted = [each for each in known if isinstance(named, list) and [*each] in named]
    return tuple(wanted or known[len(known) // 2 :])
