"""Words with times and confidences, from tokens and where the decoder looked when it wrote them.

**Times.** Some heads of Whisper's decoder look at the sound of the token that is written next. The path that gives each
token some frames, in order, and gathers most attention (Radford et al. 2022's reference code does the same by dynamic
time warping) tells when a token begins: to a frame of 20 ms, in truth to a tenth of a second or two.

**Confidence.** The probability that the decoder gave a token, and of a word the geometric mean over its tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from affetto import text
from affetto.recording import Spelling, Word

_SMOOTHING_FRAMES = 7


def token_starts(attention: Tensor) -> list[int]:
    """The frame with which each token begins.

    Args:
        attention: (heads, tokens, frames), how much each head looked at a frame when the token was written.

    >>> seen = torch.tensor([[[0.9, 0.8, 0.1, 0.1, 0.0], [0.1, 0.2, 0.8, 0.1, 0.1], [0.0, 0.0, 0.1, 0.8, 0.9]]])
    >>> token_starts(seen)
    [0, 2, 3]
    """
    _, tokens, frames = attention.shape
    if tokens > frames:
        return [token * frames // tokens for token in range(tokens)]
    spread, mean = torch.std_mean(attention.float(), dim=1, keepdim=True, correction=0)
    scores = (attention - mean) / spread.clamp(min=1e-8)
    if frames > _SMOOTHING_FRAMES:
        half = _SMOOTHING_FRAMES // 2
        padded = torch.nn.functional.pad(scores, (half, half), mode="reflect")
        scores = padded.unfold(2, _SMOOTHING_FRAMES, 1).median(dim=3).values
    return _best_starts(scores.mean(dim=0).double().cpu().numpy())


def _best_starts(scores: NDArray[np.float64]) -> list[int]:
    """Where each row begins on the best path through (rows, columns) that visits every row, in order."""
    rows, columns = scores.shape
    sums = np.concatenate([np.zeros((rows, 1)), scores.cumsum(axis=1)], axis=1)
    ends = sums[0].copy()  # the best score with which a row ends before each column
    ends[0] = -np.inf
    gains = []
    for row in range(1, rows):
        gains.append(ends - sums[row])  # of beginning the row at each column
        ends = np.concatenate([[-np.inf], sums[row, 1:] + np.maximum.accumulate(gains[-1])[:-1]])
    starts, column = [], columns
    for gain in reversed(gains):
        column = int(gain[:column].argmax())
        starts.append(column)
    return [0, *reversed(starts)]


def spell_tokens(
    pieces: Sequence[bytes], log_probs: Sequence[float], starts_s: Sequence[float], end_s: float
) -> Spelling:
    """The words of tokens, in the alphabet: numbers are spelt out, punctuation goes (see `text.normalise`).

    Args:
        pieces: what each token spells, UTF-8; a word begins with a space.
        log_probs: of each token.
        starts_s: when each begins, seconds.
        end_s: when the last ends.

    >>> spell_tokens([b" It", b"'s", b" 7", b"."], [-0.1, -0.1, 0.0, -2.0], [0.0, 0.25, 0.5, 1.0], 1.5).words[1]
    Word(text='seven', start_s=0.5, end_s=1.5, confidence=1.0)
    """
    begins = [place for place, piece in enumerate(pieces) if piece.startswith(b" ") or place == 0]
    bounds = [*starts_s, end_s]
    written = []
    for begin, end in zip(begins, [*begins[1:], len(pieces)], strict=True):
        said = [place for place in range(begin, end) if any(each.isalnum() for each in _decoded([pieces[place]]))]
        confidence = math.exp(min(0.0, float(np.mean([log_probs[place] for place in said or range(begin, end)]))))
        written.append(Word(_decoded(pieces[begin:end]).strip(), bounds[begin], bounds[end], confidence))
    words = _normalised(written)
    return Spelling(" ".join(word.text for word in words), words)


def _decoded(pieces: Sequence[bytes]) -> str:
    return b"".join(pieces).decode("utf-8", errors="ignore")


def _normalised(written: Sequence[Word]) -> tuple[Word, ...]:
    """Words as they are said: "$7 million" is three, which share the time of the two."""
    alone = [part for word in written for part in _spread(_said([word]), [word])]
    whole = _said(written)
    if [word.text for word in alone] == whole:
        return tuple(alone)
    words: list[Word] = []
    begin = 0
    for end in range(1, len(written) + 1):  # where what stands on either side is said the same without the other
        if [*_said(written[:end]), *_said(written[end:])] == whole:
            words += _spread(whole[len(words) : len(_said(written[:end]))], written[begin:end])
            begin = end
    return tuple(words)


def _said(written: Sequence[Word]) -> list[str]:
    return text.normalise(" ".join(word.text for word in written)).split()


def _spread(said: Sequence[str], sources: Sequence[Word]) -> list[Word]:
    """What is said in the time of some words, each by its share of the letters."""
    if not said:
        return []
    begin_s, end_s = sources[0].start_s, sources[-1].end_s
    ends = np.cumsum([len(each) for each in said])
    bounds = [begin_s, *(begin_s + (end_s - begin_s) * float(end) / float(ends[-1]) for end in ends)]
    confidence = float(np.mean([each.confidence for each in sources]))
    return [Word(each, bounds[place], bounds[place + 1], confidence) for place, each in enumerate(said)]
