"""What a corpus reader declares, what it gives back, and what is done alike for all of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from affetto.data.corpora.files import AudioFolders, Progress, silent
from affetto.data.utterance import Utterance, named


class Skipped(NamedTuple):
    """A file, utterance or line that is passed over, why, in a few words that can be counted, and details, if any."""

    what: str
    reason: str
    detail: str = ""


Found = Utterance | Skipped


@dataclass(frozen=True, slots=True)
class Parsed:
    """A corpus as read: its layout's registered name, the folder (or manifest) and what is in it.

    Utterances are sorted by corpus and id, which together are unique; what could not be used is in ``skipped``.
    """

    corpus: str
    root: Path
    utterances: tuple[Utterance, ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True)
class Corpus:
    """A layout on disk and how to read it."""

    name: str  # the registered name
    title: str  # the name people know it by
    licence: str  # the licence of the data
    citation: str  # what to cite
    detect: Callable[[Path], bool]  # whether a path holds this layout; looks at names only
    # what is in a path, in any order. The file that an utterance names need not exist in this container. Raises
    # AffettoError where nothing can be read
    read: Callable[[Path], Iterable[Found]]
    # reads it, too, after unpacking what is packed in it into a folder, the second argument; None where the corpus is
    # never packed
    unpack: Callable[[Path, Path, Progress], Iterable[Found]] | None = None
    emotions: str = ""  # where its emotions come from, for model cards; "" for layouts of any corpus
    language: str = ""  # what is spoken in it, by ISO 639-1; "" where it may be any

    def parse(self, path: Path, unpacked: Path | None = None, progress: Progress = silent) -> Parsed:
        """Reads a path in this layout, emotions by their names; unpacks what is packed if there is a folder for that.

        Sound is looked for in any container. Utterances without any, or whose id is used a second time, are set aside.
        Speakers whose names differ in case or in zeros at the front alone are kept apart, with a warning.
        """
        packed = unpacked is not None and self.unpack is not None
        found = self.unpack(path, unpacked, progress) if packed else self.read(path)  # type: ignore[misc, arg-type]
        audio, unique, skipped = AudioFolders(), dict[tuple[str, str], Utterance](), list[Skipped]()
        for each in found:
            if isinstance(each, Skipped):
                skipped.append(each)
            elif (sound := audio.find(each.audio)) is None:
                skipped.append(Skipped(each.id, "audio missing"))
            elif (each.corpus, each.id) in unique:
                skipped.append(Skipped(each.id, "id used twice"))
            else:
                unique[each.corpus, each.id] = named(replace(each, audio=sound))
        skipped += (Skipped(names, "names of perhaps one speaker (kept apart)") for names in _alike(unique.values()))
        skipped.sort(key=lambda item: (item.reason, item.what))
        return Parsed(self.name, path, tuple(unique[key] for key in sorted(unique)), tuple(skipped))


def _alike(utterances: Iterable[Utterance]) -> list[str]:
    """Names of speakers that people or spreadsheets may have written otherwise: "1, 01"."""
    alike: dict[tuple[str, str], set[str]] = {}
    for each in utterances:
        name = re.sub(r"(?<!\d)0+(?=\d)", "", " ".join(each.speaker.casefold().split()))
        alike.setdefault((each.corpus, name), set()).add(each.speaker)
    return [", ".join(sorted(names)) for names in alike.values() if len(names) > 1]
