"""What a corpus reader declares and what it gives back; the same for every corpus."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from affetto.data.corpora.files import AudioFolders
from affetto.data.emotions import named
from affetto.data.parallel import Progress
from affetto.data.utterance import Utterance


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something a reader passed over.

    Attributes:
        what: the file, utterance or line.
        reason: a short class of fault that can be counted ("audio missing").
    """

    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """A corpus as read.

    Attributes:
        corpus: the reader's registered name.
        root: the folder (or manifest) that was read.
        utterances: sorted by corpus and id, which together are unique.
        skipped: what could not be used; never silent.
    """

    corpus: str
    root: Path
    utterances: tuple[Utterance, ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True)
class Corpus:
    """A layout on disk and how to read it.

    Attributes:
        name: the registered name.
        title: the name people know it by.
        licence: the licence of the data.
        citation: what to cite.
        detect: whether a path holds this layout; looks at names only.
        parse: reads the layout; raises AffettoError where nothing can be read.
        unpack: reads it, too, after unpacking what is packed in it into a folder, the second argument; None where the
            corpus is never packed.
        emotions: where its emotions come from, for model cards; "" for layouts of any corpus.
    """

    name: str
    title: str
    licence: str
    citation: str
    detect: Callable[[Path], bool]
    parse: Callable[[Path], Parsed]
    unpack: Callable[[Path, Path, Progress], Parsed] | None = None
    emotions: str = ""


def collect(corpus: str, root: Path, utterances: Iterable[Utterance], skipped: Iterable[Skipped] = ()) -> Parsed:
    """Sorts what a reader found, by the emotions' names, and sets aside every id that is used a second time.

    Speakers whose names differ in case or in zeros at the front alone are kept apart, with a warning.

    >>> twice = [Utterance(id="a", audio=Path("a.wav"), speaker="anna", corpus="mine")] * 2
    >>> parsed = collect("jsonl", Path("mine"), twice)
    >>> len(parsed.utterances), parsed.skipped
    (1, (Skipped(what='a', reason='id used twice'),))
    """
    unique: dict[tuple[str, str], Utterance] = {}
    left_out = list(skipped)
    for utterance in map(named, utterances):
        if (utterance.corpus, utterance.id) in unique:
            left_out.append(Skipped(utterance.id, "id used twice"))
        else:
            unique[utterance.corpus, utterance.id] = utterance
    left_out += (Skipped(names, "names of perhaps one speaker (kept apart)") for names in _alike(unique.values()))
    ordered = sorted(left_out, key=lambda item: (item.reason, item.what))
    return Parsed(corpus, root, tuple(unique[key] for key in sorted(unique)), tuple(ordered))


def _alike(utterances: Iterable[Utterance]) -> list[str]:
    """Names of speakers that people or spreadsheets may have written otherwise: "1, 01"."""
    alike: dict[tuple[str, str], set[str]] = {}
    for each in utterances:
        name = re.sub(r"(?<!\d)0+(?=\d)", "", " ".join(each.speaker.casefold().split()))
        alike.setdefault((each.corpus, name), set()).add(each.speaker)
    return [", ".join(sorted(names)) for names in alike.values() if len(names) > 1]


def collect_with_sound(
    corpus: str, root: Path, utterances: Iterable[Utterance], left_out: Iterable[Skipped] = ()
) -> Parsed:
    """Looks for the sound files that a list names, in any container, and sets aside what has none."""
    audio, found, skipped = AudioFolders(), list[Utterance](), [*left_out]
    for utterance in utterances:
        path = audio.find(utterance.audio)
        if path is None:
            skipped.append(Skipped(utterance.id, "audio missing"))
        else:
            found.append(replace(utterance, audio=path))
    return collect(corpus, root, found, skipped)
