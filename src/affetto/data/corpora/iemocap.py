"""IEMOCAP: acted dialogues of ten speakers, labelled by several raters a turn.

https://sail.usc.edu/iemocap. ``Session1/dialog/EmoEvaluation/Ses01F_impro01.txt`` labels the turns of a dialogue,
``Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav`` is a turn.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from affetto.data.corpora.corpus import Corpus, Found, Skipped
from affetto.data.corpora.files import AudioFolders, folders, read_lines
from affetto.data.utterance import Rating, Utterance, emotion_name

_CODES = ("ang", "dis", "exc", "fea", "fru", "hap", "neu", "sad", "sur")
EMOTIONS = {code: emotion_name(code) for code in _CODES} | {"oth": "other"}
NO_MAJORITY = "xxx"
DIMENSIONS = ("valence", "activation", "dominance")  # As the summary lines have them, from 1 to 5 or a little more
SESSIONS = tuple(f"Session{number}" for number in range(1, 6))
SOUNDS = Path("sentences", "wav")
EVALUATIONS = Path("dialog", "EmoEvaluation")
TRANSCRIPTS = Path("dialog", "transcriptions")

# "Ses05M_script01_1b_M001": session, whose motion was captured, dialogue, and the letter of who speaks. The part after
# the last "_" is the turn's; only its letter names the speaker.
_TURN = re.compile(r"(?P<dialogue>(?P<session>Ses[0-9]{2})[FM]_\w+)_(?P<letter>[FM])[0-9A-Za-z]+", re.ASCII)
_SUMMARY = re.compile(r"\[[^\]]*\]\s+(?P<turn>\S+)\s+(?P<code>\S+)(?:\s+\[(?P<dimensions>[^\]]*).*)?")
_RATING = re.compile(r"(?P<rater>C-[EFM][0-9]+):(?P<labels>[^(]*)(?:\(.*)?")
_TRANSCRIPT = re.compile(r"(?P<turn>\S+)\s*\[[^\]]*\]:?\s*(?P<text>.*)")


class Turn(NamedTuple):
    """The entry of an evaluation file on a turn; no emotion where the raters agreed on none."""

    name: str
    emotion: str | None
    ratings: tuple[Rating, ...]
    dimensions: dict[str, float] | None = None


def read(path: Path) -> Iterator[Found]:
    """Reads all the sessions there are, or one alone; those of the five that are not there are among the skipped.

    The emotion and the dimensions are those of the summary line, ``ratings`` are all categorical lines. The speaker is
    the session and the letter of the turn ("Ses01_M"), the group the session. Turns without a transcript are kept, and
    counted.
    """
    sessions = _sessions(path)
    for name in SESSIONS if path not in sessions else ():
        if path / name not in sessions:
            yield Skipped(name, "session missing")
    for session in sessions:
        yield from _read_session(session)


def _sessions(path: Path) -> list[Path]:
    return [folder for folder in (path, *(path / name for name in SESSIONS)) if (folder / EVALUATIONS).is_dir()]


def _read_session(session: Path) -> Iterator[Found]:
    skipped, labelled, audio = list[Skipped](), set[str](), AudioFolders()
    for evaluation in sorted((session / EVALUATIONS).glob("[!.]*.txt")):
        turns = read_turns(read_lines(evaluation, any_encoding=True), evaluation.name, skipped)
        texts = _read_transcript(session / TRANSCRIPTS / evaluation.name, skipped)
        for turn in turns:
            labelled.add(turn.name)
            name = _TURN.fullmatch(turn.name)
            if name is None:
                skipped.append(Skipped(turn.name, "name is not dialogue_turn"))
                continue
            sound, text = session / SOUNDS / name["dialogue"] / f"{turn.name}.wav", (texts or {}).get(turn.name) or None
            if texts is not None and text is None and audio.find(sound) is not None:
                skipped.append(Skipped(turn.name, "no transcript (kept without)"))
            yield Utterance(
                id=turn.name,
                audio=sound,
                speaker=f"{name['session']}_{name['letter']}",
                corpus=CORPUS.name,
                text=text,
                emotion=turn.emotion,
                ratings=turn.ratings,
                dimensions=turn.dimensions,
                group=name["session"],
            )
    for dialogue in folders(session / SOUNDS):
        skipped += (Skipped(stem, "label missing") for stem in audio.stems(dialogue) if stem not in labelled)
    yield from skipped


def read_turns(lines: Iterable[tuple[int, str]], where: str, skipped: list[Skipped]) -> list[Turn]:
    r"""The turns of an evaluation file, in its order; what is faulty is added to ``skipped``.

    A rating belongs to the last summary line above it; after a line that cannot be understood it belongs to none.
    Lines of attributes (``A-E2: val 3; ...``) and of comment (``%``) are passed over.

    >>> lines = ["[6.2 - 8.2]\tSes01F_impro01_F000\tneu\t[2.5, 2.5, 2.5]", "C-E3:\tNeutral; Frustration;\t(resigned)"]
    >>> read_turns(enumerate(lines), "Ses01F_impro01.txt", [])[0].ratings
    (Rating(rater='C-E3', labels=('neutral', 'frustration')),)
    """
    turns, open_turn = list[Turn](), False
    for number, line in lines:
        place = f"{where}:{number}"
        if line.startswith(("%", "A-")):
            continue
        if summary := _SUMMARY.fullmatch(line.rstrip()):
            code = summary["code"]
            if code not in EMOTIONS and code != NO_MAJORITY:
                skipped.append(Skipped(summary["turn"], f"unknown emotion code {code[:8]!r} (kept without)"))
            dimensions = _dimensions(summary["dimensions"])
            if summary["dimensions"] is not None and dimensions is None:
                skipped.append(Skipped(summary["turn"], "malformed dimensions (kept without)"))
            turns.append(Turn(summary["turn"], EMOTIONS.get(code), (), dimensions))
            open_turn = True
        elif rating := _RATING.fullmatch(line.rstrip()):
            labels = _labels(rating["labels"], place, skipped)
            if not open_turn:
                skipped.append(Skipped(place, "rating of no turn"))
            elif not labels:
                skipped.append(Skipped(place, "rating without a label"))
            else:
                turns[-1] = turns[-1]._replace(ratings=(*turns[-1].ratings, Rating(rating["rater"], labels)))
        else:
            skipped.append(Skipped(place, "malformed line"))
            open_turn = False
    return turns


def _dimensions(values: str | None) -> dict[str, float] | None:
    """Of "2.5000, 2.5000, 2.5000"."""
    try:
        numbers = [float(value) for value in (values or "").split(",")]
        found = dict(zip(DIMENSIONS, numbers, strict=True))
    except ValueError:
        return None
    return found if all(1 <= number <= 10 for number in numbers) else None


def _labels(labels: str, place: str, skipped: list[Skipped]) -> tuple[str, ...]:
    """The labels of one line, each once; one that raters could not choose is "other", and counted among the skipped."""
    # Left out, it would make agreement too high: the rater disagreed with those who named an emotion.
    chosen = list(filter(None, map(emotion_name, labels.split(";"))))
    unknown = [label for label in chosen if label not in EMOTIONS.values()]
    skipped += (Skipped(f"{place} {label}", "unknown label (taken as other)") for label in unknown)
    return tuple(dict.fromkeys("other" if label in unknown else label for label in chosen))


def _read_transcript(path: Path, skipped: list[Skipped]) -> dict[str, str] | None:
    """Turn -> text, without what carries no turn's name ("M: mm-hm"); None where the file is missing."""
    if not path.is_file():
        skipped.append(Skipped(path.name, "transcript missing (kept without)"))
        return None
    matches = (_TRANSCRIPT.fullmatch(line.rstrip()) for _, line in read_lines(path, any_encoding=True))
    return {match["turn"]: match["text"] for match in matches if match is not None}


CORPUS = Corpus(
    name="iemocap",
    title="IEMOCAP",
    licence="IEMOCAP data release agreement (University of Southern California): research, on request",
    citation="Busso et al. (2008), IEMOCAP: Interactive Emotional Dyadic Motion Capture Database, "
    "Language Resources and Evaluation 42(4)",
    detect=lambda path: bool(_sessions(path)),
    read=read,
    emotions="acted emotion, scripts and improvisations of ten actors, one language",
    language="en",
)
