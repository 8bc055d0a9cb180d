"""VoxForge: a folder (or .tgz) a submission, ``ann-20080101-abc/etc/PROMPTS`` and ``ann-20080101-abc/wav/a0001.wav``.

https://www.voxforge.org
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from affetto.data.corpora import archives
from affetto.data.corpora.corpus import Corpus, Found, Skipped
from affetto.data.corpora.files import AudioFolders, Progress, files, folders, in_threads, read_lines, sound_stem
from affetto.data.utterance import Utterance
from affetto.errors import CorpusError

PROMPTS = ("PROMPTS", "prompts-original")  # Where the words stand: the first of these files that has any
SOUNDS = ("wav", "flac")  # Folders of sound; where a submission has both, the first that has a recording counts for it
PACKED = "packed, for affetto corpus prepare to unpack"
_NAMED = re.compile(r"(?P<speaker>.+)-(?:19|20)\d{6}-\w+")  # ann-20080101-abc
_UNSAID = frozenset({"", "unknown", "n/a", "na", "none", "please select", "-"})


class Readme(NamedTuple):
    """A speaker as ``etc/README`` describes them, None where it does not: user name, "female" or "male", age."""

    name: str | None
    sex: str | None
    age: str | None


def detect(path: Path) -> bool:
    """Whether a path holds submissions, packed or not, or is one."""
    packed = (archives.stem(each) or "" for each in files(path))
    return _is_submission(path) or any(map(_is_submission, folders(path))) or any(map(_NAMED.fullmatch, packed))


def read(path: Path) -> Iterator[Found]:
    """Reads the submissions that are unpacked, and counts those that are not.

    The speaker is the user name, without regard to case and spaces; all that are anonymous are held for one, since
    which of them are the same person is not known. Utterances are named by submission and prompt.
    """
    for each in _packed(path).values():
        yield Skipped(each.name, PACKED)
    yield from chain.from_iterable(map(_read_submission, _unpacked(path)))


def unpack(path: Path, into: Path, progress: Progress) -> Iterator[Found]:
    """Like `read`, after unpacking what is packed into a folder of its own; archives with faults are left out."""
    packed, ready = _packed(path), list[Path]()
    into.mkdir(parents=True, exist_ok=True)

    def work(name: str) -> Path | Skipped:
        try:
            archives.unpack(packed[name], into / name, ("etc", *SOUNDS))
        except archives.ArchiveError as error:
            return Skipped(packed[name].name, error.reason)
        return into / name

    for done, outcome in enumerate(in_threads(work, packed), start=1):
        progress(done, len(packed), "unpacking")
        if isinstance(outcome, Skipped):
            yield outcome
        else:
            ready.append(outcome)
    yield from chain.from_iterable(map(_read_submission, [*_unpacked(path), *sorted(ready)]))


def prompt(line: str) -> tuple[str, str] | None:
    """The recording's name and the words of a line of prompts; None where it is none.

    >>> prompt("ann-20080101-abc/mfc/a0001 THE WORDS")
    ('a0001', 'THE WORDS')
    """
    name, _, words = line.strip().replace("\t", " ").partition(" ")
    stem = sound_stem(name.replace("\\", "/").rpartition("/")[2])
    return (stem, words.strip()) if stem and words.strip() and "\0" not in stem else None


def readme(lines: Iterable[str]) -> Readme:
    """The entries of a README.

    >>> readme(["User Name:Ann", "Gender: Female", "Age Range: Adult"])
    Readme(name='Ann', sex='female', age='adult')
    """
    facts: dict[str, str] = {}
    for line in lines:
        key, colon, value = line.partition(":")
        if colon:
            facts.setdefault(" ".join(key.lower().split()), " ".join(value.split()).strip(" ;,."))
    sex = facts.get("gender", "").lower()
    return Readme(
        name=_said(facts.get("user name", "")),
        sex=sex if sex in {"female", "male"} else None,
        age=_said(facts.get("age range", facts.get("age", "")).lower()),
    )


def _said(value: str) -> str | None:
    """A value, unless it says that there is none."""
    return None if value.lower().strip("[]() ") in _UNSAID else value


def _speaker(folder: str, readme: Readme) -> str | None:
    """The user's name, in the one spelling that folders and READMEs share; None where neither holds it."""
    named = _NAMED.fullmatch(folder)
    names = (readme.name or "", named["speaker"] if named else "")
    spelt = ("".join(filter(str.isalnum, name.casefold())) for name in names)
    return next(filter(None, spelt), None)


def _is_submission(path: Path) -> bool:
    signs = (*SOUNDS, "etc/README", *(f"etc/{name}" for name in PROMPTS))
    return (path / "etc").is_dir() and any((path / sign).exists() for sign in signs)


def _unpacked(path: Path) -> list[Path]:
    """The folders that are submissions, or should be."""
    return [path] if _is_submission(path) else folders(path)


def _packed(path: Path) -> dict[str, Path]:
    """Submission -> archive, of those that do not lie there unpacked, too."""
    there = {folder.name for folder in folders(path)}
    named = ((archives.stem(each), each) for each in files(path))
    return {name: each for name, each in named if name and name not in there}


def _read_submission(path: Path) -> Iterator[Found]:
    name, audio = path.absolute().name, AudioFolders()
    if not _is_submission(path):
        yield Skipped(name, "not a submission")
        return
    try:
        prompts, info = _prompts(path / "etc"), path / "etc" / "README"
        about = readme(line for _, line in read_lines(info, any_encoding=True)) if info.is_file() else readme([])
    except CorpusError as error:
        yield Skipped(str(error.where), "unreadable text")
        return
    speaker = _speaker(name, about)
    recorded = {stem: path / sound / f"{stem}.wav" for sound in reversed(SOUNDS) for stem in audio.stems(path / sound)}
    fault = "no prompts" if not prompts else "no recordings" if not recorded else None
    if fault is not None or speaker is None:
        yield Skipped(name, f"submission with {fault or 'no speaker'}")
        return
    for stem in sorted(prompts.keys() | recorded):
        if stem not in recorded or stem not in prompts:
            yield Skipped(f"{name}-{stem}", "no transcript" if stem in recorded else "audio missing")
            continue
        yield Utterance(
            id=f"{name}-{stem}",
            audio=recorded[stem],
            speaker=speaker,
            corpus=CORPUS.name,
            text=prompts[stem],
            sex=about.sex,
            age=about.age,
        )


def _prompts(folder: Path) -> dict[str, str]:
    """Recording -> words, of the first list that has any."""
    for name in PROMPTS:
        if (folder / name).is_file():
            lines = (prompt(line) for _, line in read_lines(folder / name, any_encoding=True))
            if found := dict(each for each in lines if each is not None):
                return found
    return {}


CORPUS = Corpus(
    name="voxforge",
    title="VoxForge",
    licence="GPL-3.0",
    citation="VoxForge (2006-2020), Free Speech Corpus, https://www.voxforge.org",
    detect=detect,
    read=read,
    unpack=unpack,
)
