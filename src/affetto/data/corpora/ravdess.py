"""RAVDESS: two sentences spoken and sung by 24 actors; ``Actor_12/03-01-05-01-02-01-12.wav``.

https://zenodo.org/records/1188976. A name is modality, channel, emotion, intensity, statement, repetition and actor;
actors with odd numbers are male. The dimension ``intended_intensity`` is 1 (normal) or 2 (strong).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from affetto.data.corpora.corpus import Corpus, Found, Skipped
from affetto.data.corpora.files import AudioFolders, files, folders
from affetto.data.utterance import Utterance

_NAMES = ("neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise")
EMOTIONS = {f"{number:02}": name for number, name in enumerate(_NAMES, start=1)}
STATEMENTS = {"01": "Kids are talking by the door.", "02": "Dogs are sitting by the door."}
SILENT, SUNG = "02", "02"  # The modality of films without sound, and the channel of song
_ACTOR = re.compile(r"Actor_[0-9]{2}")
_PACKAGE = re.compile(r"(audio|video)_(speech|song)_actors?_[0-9-]+", re.IGNORECASE)
"""What the official archives unpack to, if a folder is made for each."""
_NAME = re.compile(
    r"(?P<modality>0[1-3])-(?P<channel>0[12])-(?P<emotion>0[1-8])-(?P<intensity>0[12])-(?P<statement>0[12])-0[12]"
    r"-(?P<actor>0[1-9]|1[0-9]|2[0-4])"
)


def detect(path: Path) -> bool:
    """Whether a path is the corpus, in folders of actors or flat."""
    return any(_NAME.fullmatch(each.stem) for folder in _recordings(path) for each in files(folder))


def read(path: Path) -> Iterator[Found]:
    """Reads what is spoken; song and films are counted among the skipped."""
    for folder in _recordings(path):
        stems = set(AudioFolders().stems(folder))
        for stem in sorted(stems | {each.stem for each in files(folder)}):
            if stem in stems or _NAME.fullmatch(stem):
                yield _read_take(folder, stem, stems)


def _read_take(folder: Path, stem: str, stems: set[str]) -> Found:
    name = _NAME.fullmatch(stem)
    if name is None:
        return Skipped(stem, "name is not seven numbers of two digits")
    if name["channel"] == SUNG:
        return Skipped(stem, "song")
    if name["modality"] == SILENT:
        return Skipped(stem, "film without sound")
    if stem not in stems:
        return Skipped(stem, "film, not a sound file")
    if name["modality"] == "01" and f"03{stem[2:]}" in stems:
        return Skipped(stem, "sound of a film, there as a sound file as well")
    return Utterance(
        id=stem,
        audio=folder / f"{stem}.wav",
        speaker=name["actor"],
        corpus=CORPUS.name,
        text=STATEMENTS[name["statement"]],
        emotion=EMOTIONS[name["emotion"]],
        dimensions={"intended_intensity": float(name["intensity"])},
    )


def _recordings(path: Path) -> list[Path]:
    """The folder itself and those of the actors in it or in the archives' folders in it."""
    children = folders(path)
    packages = [path, *(folder for folder in children if _PACKAGE.fullmatch(folder.name))]
    actors = [folder for package in packages for folder in folders(package) if _ACTOR.fullmatch(folder.name)]
    return [*packages, *actors]


CORPUS = Corpus(
    name="ravdess",
    title="RAVDESS",
    licence="CC-BY-NC-SA-4.0",
    citation="Livingstone and Russo (2018), The Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS), "
    "PLoS ONE 13(5)",
    detect=detect,
    read=read,
    emotions="acted emotion, two sentences, one language",
    language="en",
)
