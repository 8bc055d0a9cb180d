"""Any collection of recordings in a folder an emotion, and therein a folder a speaker: ``anger/anna/x.wav``.

Or the other way round, ``anna/anger/x.wav``, as in ESD; all of it, or what is innermost, in ``train/`` and ``test/``.
Numbers before an emotion (``01_angry``) do not count.

Speakers are never guessed from the names of files: a guess that is wrong puts a speaker's recordings both in the
training and in the test set, and every result comes out too good. Recordings that lie straight in the folder of an
emotion are therefore refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from affetto.data.corpora.corpus import Corpus, Parsed, Skipped, collect
from affetto.data.corpora.files import AudioFolders, folders
from affetto.data.emotions import EMOTIONS, emotion_name
from affetto.data.utterance import Utterance
from affetto.errors import CorpusError

PARTS = frozenset({"dev", "eval", "evaluation", "test", "train", "training", "val", "valid", "validation"})
"""What is no speaker's name."""

_NO_SPEAKER = "not in a folder of a speaker"
_REMEDY = (
    "put every speaker's recordings in a folder of their own (anger/anna/x.wav), "
    "or name the speakers in a manifest.csv with the columns audio, speaker, emotion"
)
_NUMBER = re.compile(r"^\d+[\s._-]+|^\d+(?=[^\W\d])")


def detect(path: Path) -> bool:
    """Whether at least two folders in a path are named after emotions and have files or folders in them.

    Emotions beside each other may stand at the top or in every speaker's folder, and both in official parts.
    """
    return any(_of_emotions(folders(top)) or _by_speaker(top) for top in _tops(path))


def parse(path: Path) -> Parsed:
    """Reads ``class/speaker/file`` or ``speaker/class/file``; the emotion is that which the folder's name stands for.

    Raises:
        CorpusError: no speaker has a folder, or official parts stand where the speakers should.
    """
    audio, skipped = AudioFolders(), list[Skipped]()
    utterances: list[Utterance] = []
    for top in _tops(path):
        skipped += (Skipped(stem, "not in a folder of an emotion") for stem in audio.stems(top))
        for folder in folders(top):
            read = _read_speaker if _by_speaker(top) else _read_class
            utterances += read(folder, path, audio, skipped)
    if not utterances and any(item.reason == _NO_SPEAKER for item in skipped):
        raise CorpusError("recordings of speakers unknown, which cannot be kept apart", _REMEDY, path)
    return collect(CORPUS.name, path, utterances, skipped)


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
    return len({emotion(each.name) for each in found if emotion(each.name) in EMOTIONS and _holds_something(each)}) >= 2


def _by_speaker(top: Path) -> bool:
    """Whether speakers stand above emotions: in two folders at least, and recordings, not folders, in those below."""
    if _of_emotions(folders(top)):
        return False
    found = (folders(speaker) for speaker in folders(top))
    return sum(_of_emotions(each) and any(map(_recordings, each)) for each in found) >= 2


def _read_class(folder: Path, root: Path, audio: AudioFolders, skipped: list[Skipped]) -> Iterator[Utterance]:
    speakers = folders(folder)
    parts = [speaker.name for speaker in speakers if _is_part(speaker)]
    if parts:
        raise CorpusError(f"{', '.join(parts)} where folders of speakers should be", _REMEDY, folder)
    skipped += (Skipped(str((folder / stem).relative_to(root)), _NO_SPEAKER) for stem in audio.stems(folder))
    for speaker in speakers:
        yield from _read_folder(speaker, root, (speaker.name, emotion(folder.name)), audio, skipped)


def _read_speaker(speaker: Path, root: Path, audio: AudioFolders, skipped: list[Skipped]) -> Iterator[Utterance]:
    name = speaker.relative_to(root).as_posix()
    skipped += (Skipped(f"{name}/{stem}", "not in a folder of an emotion") for stem in audio.stems(speaker))
    for folder in folders(speaker):
        for each in _tops(folder):
            yield from _read_folder(each, root, (speaker.name, emotion(folder.name)), audio, skipped)


def _read_folder(
    folder: Path, root: Path, named: tuple[str, str], audio: AudioFolders, skipped: list[Skipped]
) -> Iterator[Utterance]:
    """The recordings of a speaker and an emotion."""
    name = folder.relative_to(root).as_posix()
    skipped += (Skipped(f"{name}/{deep.name}", "folder within a speaker's") for deep in folders(folder))
    if not audio.stems(folder):
        skipped.append(Skipped(name, "folder without recordings"))
    partition = next((part for part in folder.relative_to(root).parts if part.lower() in PARTS), None)
    for stem in audio.stems(folder):
        found = audio.find(folder / f"{stem}.wav")
        if found is not None:
            yield Utterance(
                id=f"{name}/{stem}",
                audio=found,
                speaker=named[0],
                corpus=root.absolute().name or CORPUS.name,
                emotion=named[1],
                partition=partition,
            )


def _recordings(folder: Path) -> bool:
    return any(AudioFolders().stems(top) for top in _tops(folder))


def _holds_something(folder: Path) -> bool:
    return bool(AudioFolders().stems(folder) or folders(folder))


CORPUS = Corpus(
    name="class_folders",
    title="folders of emotions",
    licence="that of the recordings",
    citation="that of the recordings",
    detect=detect,
    parse=parse,
)
