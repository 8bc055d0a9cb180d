"""MELD: utterances of the series Friends, labelled by several raters who saw the film and its dialogue.

https://affective-meld.github.io. ``train_sent_emo.csv`` labels what lies in ``train_splits``, a film an utterance:
``dia0_utt0.mp4``. All parts have the six main speakers.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from affetto.data.corpora.corpus import Corpus, Found, Skipped
from affetto.data.corpora.files import files, read_lines
from affetto.data.utterance import Utterance
from affetto.errors import CorpusError

FOLDERS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
ABSENT = {"dev_dia110_utt7"}  # What the release labels and has no film of
_COLUMNS = {"Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID"}


def read(path: Path) -> Iterator[Found]:
    """Reads all the parts there are; the table of one may lie beside its folder, or with it in a folder of its name.

    Films may have been turned into sound (``dia0_utt0.wav``). The group is the dialogue.
    """
    for part in FOLDERS:
        table = _table(path, part)
        if table is None:
            yield Skipped(f"{part}_sent_emo.csv", "part missing")
        else:
            yield from _read_part(table, part)


def _table(path: Path, part: str) -> Path | None:
    name = f"{part}_sent_emo.csv"
    return next((each for each in (path / name, path / part / name) if each.is_file()), None)


def _read_part(table: Path, part: str) -> Iterator[Found]:
    places = (table.parent / FOLDERS[part], table.parent / part / FOLDERS[part])
    folder = next((each for each in places if each.is_dir()), places[0])
    films = {film.name for film in files(folder) if film.suffix == ".mp4"}
    rows = csv.DictReader(line for _, line in read_lines(table, any_encoding=True))
    if missing := _COLUMNS.difference(rows.fieldnames or ()):
        raise CorpusError(f"no column {', '.join(sorted(missing))}", "take the table of the release", table)
    for row in rows:
        cells = {name: (row[name] or "").strip() for name in _COLUMNS}
        dialogue, stem = f"dia{cells['Dialogue_ID']}", f"dia{cells['Dialogue_ID']}_utt{cells['Utterance_ID']}"
        if not (cells["Dialogue_ID"].isdecimal() and cells["Utterance_ID"].isdecimal()):
            yield Skipped(f"{table.name}:{rows.line_num}", "malformed line")
        elif not cells["Speaker"] or not cells["Emotion"]:
            yield Skipped(f"{part}_{stem}", "label missing" if cells["Speaker"] else "no speaker")
        elif f"{part}_{stem}" in ABSENT:
            yield Skipped(f"{part}_{stem}", "not in the release")
        else:
            yield Utterance(
                id=f"{part}_{stem}",
                audio=folder / (f"{stem}.mp4" if f"{stem}.mp4" in films else f"{stem}.wav"),
                speaker=cells["Speaker"],
                corpus=CORPUS.name,
                text=cells["Utterance"] or None,
                emotion=cells["Emotion"],
                group=f"{part}_{dialogue}",
                partition=part,
            )


CORPUS = Corpus(
    name="meld",
    title="MELD",
    licence="GPL-3.0 (labels and texts); the films are of the series, for research",
    citation="Poria et al. (2019), MELD: A Multimodal Multi-Party Dataset for Emotion Recognition in Conversations, "
    "ACL",
    detect=lambda path: any(_table(path, part) is not None for part in FOLDERS),
    read=read,
    emotions="emotion in a television series, with its music and laughter, one language",
    language="en",
)
