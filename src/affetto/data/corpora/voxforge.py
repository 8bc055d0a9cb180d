"""VoxForge: a folder (or .tgz) a submission, ``ann-20080101-abc/etc/PROMPTS`` and ``ann-20080101-abc/wav/a0001.wav``.

https://www.voxforge.org
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from affetto.audio import SOUND_SUFFIXES
from affetto.data.corpora import archives
from affetto.data.corpora.corpus import Corpus, Parsed, Skipped, collect
from affetto.data.corpora.files import AudioFolders, files, folders, read_lines_of_any_encoding
from affetto.data.parallel import Progress, in_threads
from affetto.data.utterance import Utterance
from affetto.errors import CorpusError

PROMPTS = ("PROMPTS", "prompts-original")
"""Where the words stand: the first of these files that has any."""
SOUNDS = ("wav", "flac")
"""Folders of sound; where a submission has both, the first that has a recording counts for it."""
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
    return _is_submission(path) or any(map(_is_submission, folders(path))) or _has_packed(path)


def parse(path: Path) -> Parsed:
    """Reads the submissions that are unpacked, and counts those that are not.

    The speaker is the user name, without regard to case and spaces; all that are anonymous are held for one, since
    which of them are the same person is not known. Utterances are named by submission and prompt.
    """
    skipped = [Skipped(each.name, PACKED) for each in _packed(path)]
    return collect(CORPUS.name, path, *_read(_unpacked(path), skipped))


def unpack(path: Path, into: Path, progress: Progress) -> Parsed:
    """Like `parse`, after unpacking what is packed into a folder of its own; archives with faults are left out.

    Raises:
        OSError: the folder cannot be written to.
    """
    packed, skipped = _packed(path), list[Skipped]()
    into.mkdir(parents=True, exist_ok=True)
    for done, fault in enumerate(in_threads(lambda archive: _unpack(archive, into), packed), start=1):
        progress(done, len(packed), "unpacking")
        skipped += [] if fault is None else [fault]
    wanted = {archives.stem(each) for each in packed} - {archives.stem(Path(fault.what)) for fault in skipped}
    ready = [into / name for name in sorted(name for name in wanted if name is not None)]
    return collect(CORPUS.name, path, *_read([*_unpacked(path), *ready], skipped))


def prompt(line: str) -> tuple[str, str] | None:
    """The recording's name and the words of a line of prompts; None where it is none.

    >>> prompt("ann-20080101-abc/mfc/a0001 THE WORDS")
    ('a0001', 'THE WORDS')
    """
    name, _, words = line.strip().replace("\t", " ").partition(" ")
    file = Path(name.replace("\\", "/").rpartition("/")[2])
    stem = file.stem if file.suffix.lower() in SOUND_SUFFIXES else file.name
    return (stem, words.strip()) if stem and words.strip() and "\0" not in stem else None


def readme(lines: Sequence[str]) -> Readme:
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
    for name in (readme.name, named["speaker"] if named else None):
        spelt = "".join(each for each in (name or "").casefold() if each.isalnum())
        if spelt:
            return spelt
    return None


def _is_submission(path: Path) -> bool:
    return (path / "etc").is_dir() and any(
        (path / name).exists() for name in (*SOUNDS, "etc/README", *(f"etc/{name}" for name in PROMPTS))
    )


def _archives(path: Path) -> list[Path]:
    """The archives in a folder, sorted."""
    return [each for each in files(path) if archives.stem(each)]


def _has_packed(path: Path) -> bool:
    return any(_NAMED.fullmatch(archives.stem(each) or "") for each in _archives(path))


def _unpacked(path: Path) -> list[Path]:
    """The folders that are submissions, or should be."""
    return [path] if _is_submission(path) else folders(path)


def _packed(path: Path) -> list[Path]:
    """The archives that do not lie there unpacked, too."""
    there = {folder.name for folder in folders(path)}
    return [each for each in _archives(path) if archives.stem(each) not in there]


def _unpack(archive: Path, into: Path) -> Skipped | None:
    name = archives.stem(archive)
    assert name is not None, "only archives are unpacked"
    try:
        archives.unpack(archive, into / name, ("etc", *SOUNDS))
    except archives.ArchiveError as error:
        return Skipped(archive.name, error.reason)
    return None


def _read(found: Sequence[Path], skipped: list[Skipped]) -> tuple[list[Utterance], list[Skipped]]:
    """The utterances of submissions; what has faults is added to what was left out."""
    audio = AudioFolders()
    return [utterance for each in found for utterance in _read_submission(each, audio, skipped)], skipped


def _read_submission(path: Path, audio: AudioFolders, skipped: list[Skipped]) -> Iterator[Utterance]:
    name = path.absolute().name
    if not _is_submission(path):
        skipped.append(Skipped(name, "not a submission"))
        return
    try:
        prompts, readme = _prompts(path / "etc"), _readme(path / "etc" / "README")
    except CorpusError as error:
        skipped.append(Skipped(str(error.where), "unreadable text"))
        return
    speaker = _speaker(name, readme)
    recorded = {stem for sound in SOUNDS for stem in audio.stems(path / sound)}
    fault = "no prompts" if not prompts else "no recordings" if not recorded else None
    if fault is not None or speaker is None:
        skipped.append(Skipped(name, f"submission with {fault or 'no speaker'}"))
        return
    for stem in sorted(prompts.keys() | recorded):
        found = next(filter(None, (audio.find(path / sound / f"{stem}.wav") for sound in SOUNDS)), None)
        if found is None or stem not in prompts:
            reason = "audio missing" if found is None else "no transcript"
            skipped.append(Skipped(f"{name}-{stem}", reason))
            continue
        yield Utterance(
            id=f"{name}-{stem}",
            audio=found,
            speaker=speaker,
            corpus=CORPUS.name,
            text=prompts[stem],
            sex=readme.sex,
            age=readme.age,
        )


def _prompts(folder: Path) -> dict[str, str]:
    """Recording -> words, of the first list that has any."""
    for name in PROMPTS:
        if (folder / name).is_file():
            lines = (prompt(line) for _, line in read_lines_of_any_encoding(folder / name))
            if found := dict(each for each in lines if each is not None):
                return found
    return {}


def _readme(path: Path) -> Readme:
    return readme([line for _, line in read_lines_of_any_encoding(path)] if path.is_file() else [])


CORPUS = Corpus(
    name="voxforge",
    title="VoxForge",
    licence="GPL-3.0",
    citation="VoxForge (2006-2020), Free Speech Corpus, https://www.voxforge.org",
    detect=detect,
    parse=parse,
    unpack=unpack,
)
