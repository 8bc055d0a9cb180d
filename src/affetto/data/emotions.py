"""One spelling of each emotion, whatever a corpus, a folder or a manifest calls it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from affetto.data.utterance import Utterance

SPELLINGS: Mapping[str, str] = MappingProxyType(
    {
        "afraid": "fear",
        "ang": "anger",
        "angry": "anger",
        "bored": "boredom",
        "dis": "disgust",
        "disgusted": "disgust",
        "exc": "excited",
        "excitement": "excited",
        "fea": "fear",
        "fearful": "fear",
        "fru": "frustration",
        "frustrated": "frustration",
        "hap": "happiness",
        "happy": "happiness",
        "joyful": "joy",
        "neu": "neutral",
        "neutral state": "neutral",
        "sad": "sadness",
        "sur": "surprise",
        "surprised": "surprise",
    }
)
"""What emotions are called beside their names, in lower case -> the name; the list in docs/corpora.md."""
EMOTIONS = frozenset({*SPELLINGS.values(), "calm", "contempt"})  # The names; other labels are kept, in lower case


def emotion_name(label: str) -> str:
    """The name of the emotion that a label stands for.

    >>> emotion_name("Angry"), emotion_name(" SAD "), emotion_name("Laughter")
    ('anger', 'sadness', 'laughter')
    """
    name = " ".join(label.split()).lower()
    return SPELLINGS.get(name, name)


def named(utterance: Utterance) -> Utterance:
    """The same utterance, its label, votes and ratings by the emotions' names."""
    emotion = None if utterance.emotion is None else emotion_name(utterance.emotion)
    votes: Counter[str] = Counter()
    for label, count in (utterance.votes or {}).items():
        votes[emotion_name(label)] += count
    ratings = tuple(each._replace(labels=tuple(map(emotion_name, each.labels))) for each in utterance.ratings)
    return replace(utterance, emotion=emotion, votes=None if utterance.votes is None else dict(votes), ratings=ratings)
