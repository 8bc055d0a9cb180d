"""EmoDB, the Berlin database of emotional speech: ``wav/03a01Fa.wav``, ten German sentences by ten actors.

http://emodb.bilderbar.info
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from affetto.data.corpora.corpus import Corpus, Found, Skipped
from affetto.data.corpora.files import AudioFolders
from affetto.data.utterance import Utterance

EMOTIONS = {"W": "anger", "L": "boredom", "E": "disgust", "A": "fear", "F": "happiness", "T": "sadness", "N": "neutral"}
"""The first letter of the German word: Wut, Langeweile, Ekel, Angst, Freude, Trauer, neutral."""
SENTENCES = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute Abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}

_NAME = re.compile(rf"(?P<speaker>[0-9]{{2}})(?P<text>{'|'.join(SENTENCES)})(?P<emotion>[{''.join(EMOTIONS)}])[a-z]?")


def detect(path: Path) -> bool:
    """Whether a path is the corpus or its folder of recordings."""
    return any(_NAME.fullmatch(stem) for stem in AudioFolders().stems(_recordings(path)))


def read(path: Path) -> Iterator[Found]:
    """Reads every recording; its name holds speaker, sentence and the emotion the actor intended."""
    folder = _recordings(path)
    for stem in AudioFolders().stems(folder):
        name = _NAME.fullmatch(stem)
        if name is None:
            yield Skipped(stem, "name is not speaker, sentence, emotion, version")
            continue
        audio, text, emotion = folder / f"{stem}.wav", SENTENCES[name["text"]], EMOTIONS[name["emotion"]]
        speaker = name["speaker"]
        yield Utterance(id=stem, audio=audio, speaker=speaker, corpus=CORPUS.name, text=text, emotion=emotion)


def _recordings(path: Path) -> Path:
    return path / "wav" if (path / "wav").is_dir() else path


CORPUS = Corpus(
    name="emodb",
    title="EmoDB",
    licence="free of charge, no licence stated",
    citation="Burkhardt et al. (2005), A Database of German Emotional Speech, Interspeech",
    detect=detect,
    read=read,
    emotions="acted emotion, ten sentences, one language",
    language="de",
)
