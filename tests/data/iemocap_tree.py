"""IEMOCAP built small: the official folders and files, filled with turns of known labels and tones for speech.

``from tests.data.iemocap_tree import Turn, even_turns, make_iemocap`` from any test; no fixture is needed.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

SAMPLE_RATE = 16_000
PITCHES_HZ = {"ang": 260, "exc": 240, "hap": 220, "neu": 140, "sad": 100}
"""So that a small model can tell the emotions apart; every other code sounds at 180 Hz."""
WORDS = {
    "ang": "Anger",
    "dis": "Disgust",
    "exc": "Excited",
    "fea": "Fear",
    "fru": "Frustration",
    "hap": "Happiness",
    "neu": "Neutral",
    "oth": "Other",
    "sad": "Sadness",
    "sur": "Surprise",
}
"""Summary code -> what raters write."""


class Turn(NamedTuple):
    """A turn to build.

    Attributes:
        name: the official name ("Ses01F_impro01_F000"); it tells session, dialogue and speaker.
        emotion: the summary code ("neu"; "xxx" for no majority).
        ratings: (rater, labels as written) a line: ("C-E2", "Neutral; Frustration").
        text: what is said; None leaves it out of the transcript.
        dimensions: valence, activation and dominance, as the summary line has them.
    """

    name: str
    emotion: str
    ratings: tuple[tuple[str, str], ...] = ()
    text: str | None = "Excuse me."
    dimensions: str = "2.5000, 2.5000, 2.5000"


def even_turns(
    sessions: Sequence[int] = (1, 2), emotions: Iterable[str] = ("ang", "hap", "neu", "sad"), each: int = 2
) -> list[Turn]:
    """As many turns of each emotion from both speakers of each session; three evaluators agree on every one."""
    return [
        Turn(
            f"Ses{session:02d}{'FM'[number % 2]}_impro{1 + number % 2:02d}_{speaker}{each * place + number:03d}",
            code,
            tuple((f"C-E{rater}", WORDS[code]) for rater in (1, 2, 3)),
        )
        for session in sessions
        for speaker in "FM"
        for place, code in enumerate(emotions)
        for number in range(each)
    ]


def make_iemocap(root: Path, turns: Iterable[Turn], *, duration_s: float = 0.3, suffix: str = ".wav") -> Path:
    """Writes a release with these turns and nothing else.

    Args:
        root: the folder that ``IEMOCAP_full_release`` is made in.
        turns: in the order of the files.
        duration_s: how long each turn is.
        suffix: the container.

    Returns:
        The release's folder.
    """
    release = root / "IEMOCAP_full_release"
    dialogues: dict[str, list[Turn]] = defaultdict(list)
    for turn in turns:
        dialogues[turn.name.rpartition("_")[0]].append(turn)
    for dialogue, inside in dialogues.items():
        session = release / f"Session{int(dialogue[3:5])}"
        for turn in inside:
            _write_sound(session / "sentences" / "wav" / dialogue / (turn.name + suffix), turn, duration_s)
        labels = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n" + "".join(map(_labels, inside))
        texts = (f"{turn.name} [006.2901-008.2357]: {turn.text}\n" for turn in inside if turn.text is not None)
        _write(session / "dialog" / "EmoEvaluation" / f"{dialogue}.txt", labels)
        _write(session / "dialog" / "transcriptions" / f"{dialogue}.txt", "".join(texts))
    return release


def _labels(turn: Turn) -> str:
    lines = [f"[6.2901 - 8.2357]\t{turn.name}\t{turn.emotion}\t[{turn.dimensions}]"]
    lines += [f"{rater}:\t{labels};\t()" for rater, labels in turn.ratings]
    lines += [f"A-{rater.removeprefix('C-')}:\tval 3; act 2; dom  2;\t()" for rater, _ in turn.ratings]
    return "\n".join(lines) + "\n\n"


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def _write_sound(path: Path, turn: Turn, duration_s: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(zlib.crc32(turn.name.encode()))
    time_s = np.arange(round(duration_s * SAMPLE_RATE)) / SAMPLE_RATE
    pitch_hz = PITCHES_HZ.get(turn.emotion, 180) * rng.uniform(0.95, 1.05)
    voice = sum(0.3 / harmonic * np.sin(2 * np.pi * harmonic * pitch_hz * time_s) for harmonic in range(1, 6))
    soundfile.write(path, voice + 0.003 * rng.standard_normal(len(time_s)), SAMPLE_RATE)
