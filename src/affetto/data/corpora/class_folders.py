"""Any collection of recordings in a folder an emotion, and therein a folder a speaker: ``anger/anna/x.wav``.

Speakers are never guessed from the names of files: a guess that is wrong puts a speaker's recordings both in the
training and in the test set, and every result comes out too good. Recordings that lie straight in the folder of an
emotion are therefore refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from affetto.data.corpora.corpus import Corpus, Parsed, Skipped, collect
from affetto.data.corpora.files import AudioFolders, folders
from affetto.data.utterance import Utterance
from affetto.errors import CorpusError

NOUNS = {
    "afraid": "fear",
    "angry": "anger",
    "bored": "boredom",
    "disgusted": "disgust",
    "excitement": "excited",
    "fearful": "fear",
    "frustrated": "frustration",
    "happy": "happiness",
    "sad": "sadness",
    "surprised": "surprise",
}
"""What folders are called -> the label that other corpora give."""
EMOTIONS = frozenset({*NOUNS.values(), "calm", "contempt", "joy", "neutral"})
"""With these a folder is known for one of emotions; beside two of them, folders of any name are classes."""
PARTS = frozenset({"dev", "eval", "test", "train", "training", "val", "valid", "validation"})
"""What is no speaker's name."""

_NO_SPEAKER = "not in a folder of a speaker"
_REMEDY = (
    "put every speaker's recordings in a folder of their own (anger/anna/x.wav), "
    "or name the speakers in a manifest.csv with the columns audio, speaker, emotion"
)


def detect(path: Path) -> bool:
    """Whether at least two folders in a path are named after emotions and have files or folders in them."""
    named = [folder for folder in folders(path) if emotion(folder.name) in EMOTIONS]
    return len({emotion(folder.name) for folder in named if _holds_something(folder)}) >= 2


def parse(path: Path) -> Parsed:
    """Reads ``class/speaker/file``; the emotion is the folder's name in lower case, "angry" is "anger".

    Raises:
        CorpusError: no speaker has a folder, or official parts stand where the speakers should.
    """
    audio, skipped = AudioFolders(), list[Skipped]()
    skipped += (Skipped(stem, "not in a folder of an emotion") for stem in audio.stems(path))
    utterances = [utterance for folder in folders(path) for utterance in _read_class(folder, path, audio, skipped)]
    if not utterances and any(item.reason == _NO_SPEAKER for item in skipped):
        raise CorpusError("recordings of speakers unknown, which cannot be kept apart", _REMEDY, path)
    return collect(CORPUS.name, path, utterances, skipped)


def emotion(folder: str) -> str:
    """The label that the name of a folder stands for.

    >>> emotion("Angry"), emotion("Laughter")
    ('anger', 'laughter')
    """
    name = folder.strip().lower()
    return NOUNS.get(name, name)


def _read_class(folder: Path, root: Path, audio: AudioFolders, skipped: list[Skipped]) -> Iterator[Utterance]:
    speakers = folders(folder)
    parts = [speaker.name for speaker in speakers if speaker.name.lower() in PARTS]
    if parts:
        raise CorpusError(f"{', '.join(parts)} where folders of speakers should be", _REMEDY, folder)
    skipped += (Skipped(f"{folder.name}/{stem}", _NO_SPEAKER) for stem in audio.stems(folder))
    for speaker in speakers:
        skipped += (Skipped(str(deep.relative_to(root)), "folder within a speaker's") for deep in folders(speaker))
        stems = audio.stems(speaker)
        if not stems:
            skipped.append(Skipped(str(speaker.relative_to(root)), "folder without recordings"))
        for stem in stems:
            found = audio.find(speaker / f"{stem}.wav")
            if found is not None:
                yield Utterance(
                    id=f"{folder.name}/{speaker.name}/{stem}",
                    audio=found,
                    speaker=speaker.name,
                    corpus=root.absolute().name or CORPUS.name,
                    emotion=emotion(folder.name),
                )


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
