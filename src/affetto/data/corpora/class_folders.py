"""Any collection of recordings in a folder an emotion, and therein a folder a speaker: ``anger/anna/x.wav``.

Or the other way round, ``anna/anger/x.wav``, as in ESD; all of it, or what is innermost, in ``train/`` and ``test/``.
Speakers are never guessed from the names of files, since a wrong guess puts a speaker's recordings both in the training
and in the test set: recordings that lie straight in the folder of an emotion are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from affetto.data.corpora.corpus import Corpus, Found, Skipped
from affetto.data.corpora.files import AudioFolders, folders
from affetto.data.utterance import EMOTIONS, Utterance, emotion_name
from affetto.errors import CorpusError

PARTS = frozenset({"dev", "eval", "evaluation", "test", "train", "training", "val", "valid", "validation"})
"""What is no speaker's name."""

_NO_SPEAKER, _NO_EMOTION = "not in a folder of a speaker", "not in a folder of an emotion"
_REMEDY = (
    "put every speaker's recordings in a folder of their own (anger/anna/x.wav), "
    "or name the speakers in a manifest.csv with the columns audio, speaker, emotion"
)
_NUMBER = re.compile(r"^\d+[\s._-]+|^\d+(?=[^\W\d])")


def detect(path: Path) -> bool:
    """Whether two folders in a path, or in those of two speakers, are named after emotions; perhaps in parts."""
    return any(_of_emotions(folders(top)) or _by_speaker(top) for top in _tops(path))


def read(path: Path) -> list[Found]:
    """Reads ``class/speaker/file`` or ``speaker/class/file``; the emotion is what the folder's name stands for."""
    audio, found = AudioFolders(), list[Found]()
    for top in _tops(path):
        found += (Skipped(stem, _NO_EMOTION) for stem in audio.stems(top))
        read_folder = _read_speaker if _by_speaker(top) else _read_class
        for folder in folders(top):
            found += read_folder(folder, path, audio)
    skipped = [each for each in found if isinstance(each, Skipped)]
    if len(skipped) == len(found) and any(each.reason == _NO_SPEAKER for each in skipped):
        raise CorpusError("recordings of speakers unknown, which cannot be kept apart", _REMEDY, path)
    return found


def emotion(folder: str) -> str:
    """The label that the name of a folder stands for.

    >>> emotion("Angry"), emotion("03_Happy"), emotion("Laughter")
    ('anger', 'happiness', 'laughter')
    """
    name = emotion_name(folder)
    plain = emotion_name(_NUMBER.sub("", name))
    return plain if plain in EMOTIONS else name


def _tops(path: Path) -> list[Path]:
    """The path itself, or the official parts that are all that is in it."""
    found = folders(path)
    return found if found and all(map(_is_part, found)) else [path]


def _is_part(folder: Path) -> bool:
    return folder.name.lower() in PARTS


def _of_emotions(found: Iterable[Path]) -> bool:
    """Whether at least two of some folders are named after emotions and have something in them."""
    named = [each for each in found if emotion(each.name) in EMOTIONS]
    return len({emotion(each.name) for each in named if AudioFolders().stems(each) or folders(each)}) >= 2


def _by_speaker(top: Path) -> bool:
    """Whether speakers stand above emotions: in two folders at least, and recordings, not folders, in those below."""
    if _of_emotions(folders(top)):
        return False
    of_speakers = [emotions for emotions in map(folders, folders(top)) if _of_emotions(emotions)]
    recorded = ({part for folder in emotions for part in _tops(folder)} for emotions in of_speakers)
    return sum(any(map(AudioFolders().stems, each)) for each in recorded) >= 2


def _read_class(folder: Path, root: Path, audio: AudioFolders) -> Iterator[Found]:
    speakers = folders(folder)
    parts = [speaker.name for speaker in speakers if _is_part(speaker)]
    if parts:
        raise CorpusError(f"{', '.join(parts)} where folders of speakers should be", _REMEDY, folder)
    for stem in audio.stems(folder):
        yield Skipped(str((folder / stem).relative_to(root)), _NO_SPEAKER)
    for speaker in speakers:
        yield from _read_folder(speaker, root, speaker.name, emotion(folder.name), audio)


def _read_speaker(speaker: Path, root: Path, audio: AudioFolders) -> Iterator[Found]:
    for stem in audio.stems(speaker):
        yield Skipped(f"{speaker.relative_to(root).as_posix()}/{stem}", _NO_EMOTION)
    for folder in folders(speaker):
        for each in _tops(folder):
            yield from _read_folder(each, root, speaker.name, emotion(folder.name), audio)


def _read_folder(folder: Path, root: Path, speaker: str, label: str, audio: AudioFolders) -> Iterator[Found]:
    """The recordings of a speaker and an emotion."""
    name = folder.relative_to(root).as_posix()
    for deep in folders(folder):
        yield Skipped(f"{name}/{deep.name}", "folder within a speaker's")
    if not audio.stems(folder):
        yield Skipped(name, "folder without recordings")
    for stem in audio.stems(folder):
        yield Utterance(
            id=f"{name}/{stem}",
            audio=folder / f"{stem}.wav",
            speaker=speaker,
            corpus=root.absolute().name or CORPUS.name,
            emotion=label,
            partition=next((part for part in folder.relative_to(root).parts if part.lower() in PARTS), None),
        )


CORPUS = Corpus(
    name="class_folders",
    title="folders of emotions",
    licence="that of the recordings",
    citation="that of the recordings",
    detect=detect,
    read=read,
)
