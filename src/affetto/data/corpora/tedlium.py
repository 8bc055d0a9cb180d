"""TED-LIUM, release 2: whole talks ``train/sph/X_2010.sph``, and what is said when in ``train/stm/X_2010.stm``.

https://www.openslr.org/19

A segment is left out that is marked ``ignore_time_segment_in_scoring``, or where more than one word in ten is unknown
(``<unk>``), since the text is no longer what is said. Contractions, written apart ("it 's"), are joined again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from affetto.data.corpora.corpus import Corpus, Found, Skipped
from affetto.data.corpora.files import read_lines
from affetto.data.utterance import Utterance
from affetto.text import MARK, VARIANT

PARTITIONS = ("train", "dev", "test")
IGNORED = "ignore_time_segment_in_scoring"
UNKNOWN = "<unk>"
MOST_UNKNOWN = 0.1  # Share of unknown words up to which a segment is kept
_CONTRACTED = frozenset({"'s", "'re", "'m", "'ll", "'ve", "'d", "'t"})
_YEAR = re.compile(r"_\d.*$")  # BillGates_2010, DanBarber_2010_S103


class Segment(NamedTuple):
    """A line of an stm file: which talk, who speaks, from when to when (seconds), what, and "female" or "male"."""

    talk: str
    speaker: str
    start_s: float
    end_s: float
    words: tuple[str, ...]
    sex: str | None


def read(path: Path) -> Iterator[Found]:
    """Reads every segment of every part; talks are cut by the segments' times.

    The speaker is the person: two talks of one are held together, whatever their years ("AlGore_2006" in one part and
    "Al_Gore" in another are the same). Should somebody speak in two official parts, a recipe that trains on the one
    and validates on the other is refused; let it hold out speakers instead.
    """
    for part in _parts(path):
        for stm in sorted((part / "stm").glob("[!.]*.stm")):
            yield from _read_talk(stm, part)


def segment(line: str) -> Segment | None:
    """A line of an stm file; None where it is none.

    >>> segment("AaronHuey_2010X 1 AaronHuey_2010X 16.12 29.03 <o,f0,male> i 'm here").words
    ('i', "'m", 'here')
    """
    try:
        talk, _, speaker, start, end, *words = line.split()
        start_s, end_s = float(start), float(end)
    except ValueError:
        return None
    name, sex = person(speaker), None
    if not (0 <= start_s < end_s < math.inf and name):
        return None
    if words and words[0] != UNKNOWN and MARK.fullmatch(words[0]):  # "<o,f0,male>", or "<F0_M>" as in release 1
        label = set(re.split("[,_]", words.pop(0).strip("<>").lower()))
        sex = "female" if label & {"female", "f"} else "male" if label & {"male", "m"} else None
    return Segment(talk, name, start_s, end_s, tuple(words), sex)


def person(name: str) -> str:
    """Who it is that an stm file calls by the talk's or the person's name.

    >>> person("DanBarber_2010_S103"), person("Al_Gore")
    ('DanBarber', 'AlGore')
    """
    return _YEAR.sub("", name).replace("_", "")


def transcript(words: tuple[str, ...]) -> str:
    """What is said: without marks, contractions joined.

    >>> transcript(("it", "'s", "<unk>", "he", "doesn", "'t(2)", "{SMACK}"))
    "it's he doesn't"
    """
    said: list[str] = []
    for each in words:
        word = VARIANT.sub("", each)
        if not word or MARK.fullmatch(word):
            continue
        if said and word.lower() in _CONTRACTED:
            said[-1] += word
        else:
            said.append(word)
    return " ".join(said)


def _parts(path: Path) -> list[Path]:
    """The folders that hold talks and their transcripts: the path itself, or the official parts in it."""
    every = (path, *(path / name for name in PARTITIONS))
    return [part for part in every if (part / "sph").is_dir() and (part / "stm").is_dir()]


def _read_talk(stm: Path, part: Path) -> Iterator[Found]:
    name = part.absolute().name
    for number, line in read_lines(stm, any_encoding=True):
        if line.startswith(";;"):  # a comment
            continue
        found = segment(line)
        if found is None:
            yield Skipped(f"{stm.name}:{number}", "malformed segment")
            continue
        identity = f"{found.talk}-{round(found.start_s * 1000):08d}-{round(found.end_s * 1000):08d}"
        text = transcript(found.words)
        if reason := _reason(found, text):
            yield Skipped(identity, reason)
            continue
        yield Utterance(
            id=identity,
            audio=part / "sph" / f"{found.talk}.sph",
            speaker=found.speaker,
            corpus=CORPUS.name,
            start_s=found.start_s,
            end_s=found.end_s,
            text=text,
            partition=name if name in PARTITIONS else None,
            sex=found.sex,
        )


def _reason(found: Segment, text: str) -> str | None:
    """Why a segment cannot be trained on, whatever its sound."""
    if found.words == (IGNORED,):
        return "not transcribed, as the corpus says"
    if not text:
        return "no transcript"
    if found.words.count(UNKNOWN) > MOST_UNKNOWN * len(found.words):
        return "too many words unknown"
    return None


CORPUS = Corpus(
    name="tedlium",
    title="TED-LIUM",
    licence="CC-BY-NC-ND-3.0",
    citation="Rousseau et al. (2014), Enhancing the TED-LIUM Corpus with Selected Data for Language Modeling and More "
    "TED Talks, LREC",
    detect=lambda path: bool(_parts(path)),
    read=read,
    language="en",
)
