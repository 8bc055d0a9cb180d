"""How emotion goes through time: probabilities smoothed over neighbours, certainty, and each emotion's share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field

from affetto.config import Config

NO_SPEECH = "no speech"  # The statement on a recording in which nobody speaks
NOT_SURE = "not sure"  # The statement where no emotion is probable enough
UNFAMILIAR = "unfamiliar sound"  # The statement where the sound is unlike all that the model was trained on
_FAR = 4.0  # standard deviations; what is farther away weighs less than a thousandth


class Judgement(Config):
    """How probabilities become statements."""

    # the probability that the likeliest emotion must reach to be stated; below it the answer is "not sure"
    sure: Annotated[float, Field(ge=0, le=1)] = 0.5
    # how far neighbours count, seconds (see `smooth`); 0 takes each stretch by itself
    smooth_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


class Moment(NamedTuple):
    """The probability of each emotion between two times, in seconds, and whether such sound was trained on."""

    start_s: float
    end_s: float
    probabilities: Mapping[str, float]
    familiar: bool = True


def likeliest(probabilities: Mapping[str, float]) -> str:
    """The most probable emotion."""
    return max(probabilities, key=probabilities.__getitem__)


def mean(moments: Sequence[Moment]) -> dict[str, float]:
    """The mean over time of at least one moment: each weighs as much as it lasts."""
    durations = np.array([each.end_s - each.start_s for each in moments])
    rows = np.array([list(each.probabilities.values()) for each in moments])
    return dict(zip(moments[0].probabilities, np.average(rows, axis=0, weights=durations).tolist(), strict=True))


def smooth(moments: Sequence[Moment], width_s: float) -> list[dict[str, float]]:
    """Probabilities in which neighbours count, the more the nearer and the longer they are.

    Moment i becomes the mean of all moments j, each with the weight ``d_j exp(-(m_i - m_j)² / (2 w²))``, where d is how
    long a moment lasts, m its middle, and w the width; 0 changes nothing.

    >>> calm, angry = {"anger": 0.0, "neutral": 1.0}, {"anger": 1.0, "neutral": 0.0}
    >>> smooth([Moment(0, 2, calm), Moment(2, 4, angry), Moment(4, 6, calm)], 2.0)[1]["anger"]  # 1 / (1 + 2 e^-0.5)
    0.45186...
    """
    if width_s == 0 or not moments:
        return [dict(each.probabilities) for each in moments]
    durations = np.array([each.end_s - each.start_s for each in moments])
    middles = np.array([(each.start_s + each.end_s) / 2 for each in moments])
    rows = np.array([list(each.probabilities.values()) for each in moments])  # (moments, emotions)
    first = np.searchsorted(middles, middles - _FAR * width_s, side="left")
    last = np.searchsorted(middles, middles + _FAR * width_s, side="right")
    smoothed = []
    for middle, start, end in zip(middles, first, last, strict=True):
        weights = durations[start:end] * np.exp(-(((middle - middles[start:end]) / width_s) ** 2) / 2)
        values = np.average(rows[start:end], axis=0, weights=weights).tolist()
        smoothed.append(dict(zip(moments[0].probabilities, values, strict=True)))
    return smoothed


class Shares(NamedTuple):
    """Of the time in which somebody speaks."""

    emotions: dict[str, float]  # emotion -> the part in which it is the likeliest and sure
    unsure: float  # the part in which none is sure, or the sound is unfamiliar; together they are 1


def shares(moments: Sequence[Moment], sure: float) -> Shares:
    """How much of the time of at least one moment each emotion has.

    >>> moments = [Moment(0, 3, {"anger": 0.9, "sadness": 0.1}), Moment(3, 4, {"anger": 0.4, "sadness": 0.6})]
    >>> shares(moments, 0.7)
    Shares(emotions={'anger': 0.75, 'sadness': 0.0}, unsure=0.25)
    """
    total_s = sum(each.end_s - each.start_s for each in moments)
    found = dict.fromkeys(moments[0].probabilities, 0.0)
    unsure_s = 0.0
    for each in moments:
        emotion = likeliest(each.probabilities)
        if each.probabilities[emotion] < sure or not each.familiar:
            unsure_s += each.end_s - each.start_s
        else:
            found[emotion] += (each.end_s - each.start_s) / total_s
    return Shares(found, unsure_s / total_s)


def strip(moments: Sequence[Moment], duration_s: float, cells: int) -> list[int | None]:
    """A recording in a few cells of equal length, for a picture: the place of the moment that has most of each, if any.

    >>> strip([Moment(0, 1, {}), Moment(3, 4, {})], 4, 4)
    [0, None, None, 1]
    """
    cell_s = duration_s / cells
    found: list[int | None] = [None] * cells
    most_s = [0.0] * cells
    for place, each in enumerate(moments):
        for cell in range(max(0, int(each.start_s / cell_s)), min(cells, int(each.end_s / cell_s) + 1)):
            overlap_s = min(each.end_s, (cell + 1) * cell_s) - max(each.start_s, cell * cell_s)
            if overlap_s > most_s[cell]:
                found[cell], most_s[cell] = place, overlap_s
    return found


def clock(time_s: float) -> str:
    """Seconds as people write them.

    >>> clock(3.46), clock(59.97), clock(3723.4)
    ('0:03.5', '1:00.0', '1:02:03.4')
    """
    tenths = round(time_s * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest // 10:02}.{rest % 10}"
    return f"{hours}:{minutes:02}:{seconds}" if hours else f"{minutes}:{seconds}"
