"""CREMA-D: acted emotions with the crowd's votes; ``AudioWAV/1001_DFA_ANG_XX.wav``.

https://github.com/CheyneyComputerScience/CREMA-D
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from affetto.data.corpora.corpus import Corpus, Found, Skipped
from affetto.data.corpora.files import AudioFolders, read_lines
from affetto.data.utterance import Utterance

EMOTIONS = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happiness", "NEU": "neutral", "SAD": "sadness"}
SENTENCES = {
    "IEO": "It's eleven o'clock.",
    "TIE": "That is exactly what happened.",
    "IOM": "I'm on my way to the meeting.",
    "IWW": "I wonder what this is about.",
    "TAI": "The airplane is almost full.",
    "MTI": "Maybe tomorrow it will be cold.",
    "IWL": "I would like a new alarm clock.",
    "ITH": "I think I have a doctor's appointment.",
    "DFA": "Don't forget a jacket.",
    "ITS": "I think I've seen this before.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}
INTENSITIES = frozenset({"LO", "MD", "HI", "XX", "X"})
"""Low, medium, high, unspecified; one clip of the release ends in _X, and its votes in _XX."""
LEVELS = {
    "anger": "meanAngerResp",
    "disgust": "meanDisgustResp",
    "fear": "meanFearResp",
    "happiness": "meanHappyResp",
    "sadness": "meanSadResp",
}
"""Emotion -> the column with the mean level that those gave it who chose it, from 0 to 100."""
VOTES = Path("processedResults", "tabulatedVotes.csv")
INTENSITY = "intensity"
_VOICE_ONLY = "1"  # the first digit of a row's number: 1 the voice alone, 2 the face alone, 3 both


def read(path: Path) -> Iterator[Found]:
    """Reads every clip; the emotion is the one the actor intended, the votes are those on the voice alone.

    The dimension ``intensity`` is how strongly emotional the crowd found the voice, from 0 to 100: the mean over its
    raters of the level that each gave to the emotion chosen, where neutral counts 0. The release's own summaries
    (``VoiceLevel``, ``meanEmoResp``) rank neutral clips highest, for they count how clearly neutral these are.
    """
    skipped: list[Skipped] = []
    rated = _read_votes(path / VOTES, skipped) if (path / VOTES).is_file() else {}
    yield from skipped
    if not rated:
        yield Skipped(str(VOTES), "crowd's votes missing")
    for stem in AudioFolders().stems(path / "AudioWAV"):
        actor, sentence, emotion, intensity = (stem.split("_") + [""] * 4)[:4]
        known = sentence in SENTENCES and emotion in EMOTIONS and intensity in INTENSITIES
        if not known or not actor.isdigit() or stem.count("_") != 3:
            yield Skipped(stem, "name is not actor_sentence_emotion_intensity")
            continue
        votes, dimensions = rated.get(f"{stem}X" if intensity == "X" else stem, (None, None))
        yield Utterance(
            id=stem,
            audio=path / "AudioWAV" / f"{stem}.wav",
            speaker=actor,
            corpus=CORPUS.name,
            text=SENTENCES[sentence],
            emotion=EMOTIONS[emotion],
            votes=votes,
            dimensions=dimensions,
        )


def _read_votes(path: Path, skipped: list[Skipped]) -> dict[str, tuple[dict[str, int], dict[str, float] | None]]:
    """Clip -> how many raters who were given the voice alone chose each emotion, and how intense they found it."""
    # Names are quoted, but hold neither commas nor quotation marks.
    rows = [(number, [cell.strip('"') for cell in line.split(",")]) for number, line in read_lines(path)]
    letters = {emotion[0].upper(): emotion for emotion in EMOTIONS.values()}
    rated = {}
    for number, cells in rows[1:]:
        row = dict(zip(rows[0][1], cells, strict=False))  # a row cut short lacks keys, which is found out below
        if not row.get("", _VOICE_ONLY).startswith(_VOICE_ONLY):
            continue
        try:
            votes = {emotion: int(row[letter]) for letter, emotion in letters.items()}
            rated[row["fileName"]] = votes, _dimensions(row, votes) if LEVELS["anger"] in rows[0][1] else None
        except (KeyError, ValueError):
            skipped.append(Skipped(f"{path.name}:{number}", "malformed votes"))
    return rated


def _dimensions(row: Mapping[str, str], votes: Mapping[str, int]) -> dict[str, float] | None:
    """The level of a vote for neutral is 0; that of an emotion without a vote is -1 in the file."""
    levels = {emotion: votes[emotion] * float(row[level]) for emotion, level in LEVELS.items() if votes[emotion]}
    if not any(votes.values()):
        return None
    intensity = sum(levels.values()) / sum(votes.values())
    if not 0 <= intensity <= 100:
        raise ValueError(f"intensity {intensity}")
    return {INTENSITY: intensity}


CORPUS = Corpus(
    name="crema_d",
    title="CREMA-D",
    licence="ODbL-1.0 (database), DbCL-1.0 (contents)",
    citation="Cao et al. (2014), CREMA-D: Crowd-Sourced Emotional Multimodal Actors Dataset, "
    "IEEE Transactions on Affective Computing 5(4)",
    detect=lambda path: (path / "AudioWAV").is_dir(),
    read=read,
    emotions="acted emotion, twelve sentences, one language",
    language="en",
)
