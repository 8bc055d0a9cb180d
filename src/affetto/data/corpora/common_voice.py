"""Mozilla Common Voice, one language: ``validated.tsv`` and ``clips/``.

https://commonvoice.mozilla.org
"""

from __future__ import annotations

from pathlib import Path

from affetto.data.corpora.corpus import Corpus, Parsed, Skipped, collect
from affetto.data.corpora.files import AudioFolders, read_lines
from affetto.data.utterance import Utterance
from affetto.errors import CorpusError


def detect(path: Path) -> bool:
    """Whether a path is a language's folder."""
    return (path / "validated.tsv").is_file() and (path / "clips").is_dir()


def parse(path: Path) -> Parsed:
    """Reads the validated clips; the speaker is the ``client_id``.

    The official train, dev and test lists are not read: they leave out most of the validated clips.

    Raises:
        CorpusError: the list is missing, is not UTF-8, or lacks a column.
    """
    table = path / "validated.tsv"
    rows = read_lines(table)
    _, header = next(rows, (0, ""))
    columns = header.split("\t")
    missing = {"client_id", "path", "sentence"}.difference(columns)
    if missing:
        raise CorpusError(f"no column {', '.join(sorted(missing))}", "take the list of the official release", table)
    audio, utterances, skipped = AudioFolders(), [], []
    for number, line in rows:
        cells = line.split("\t")  # nothing is quoted: a quotation mark is part of the sentence
        if len(cells) != len(columns):
            skipped.append(Skipped(f"{table.name}:{number}", "malformed line"))
            continue
        row = dict(zip(columns, (cell.strip() for cell in cells), strict=True))
        outcome = _read_row(row, path / "clips", audio)
        if isinstance(outcome, Utterance):
            utterances.append(outcome)
        else:
            skipped.append(Skipped(row["path"] or f"{table.name}:{number}", outcome))
    return collect(CORPUS.name, path, utterances, skipped)


def _read_row(row: dict[str, str], clips: Path, audio: AudioFolders) -> Utterance | str:
    """The utterance of a row, or the reason there is none."""
    if not row["client_id"]:
        return "no speaker"
    if not row["sentence"]:
        return "no transcript"
    found = audio.find(clips / Path(row["path"]).name)
    if found is None:
        return "audio missing"
    return Utterance(id=found.stem, audio=found, speaker=row["client_id"], corpus=CORPUS.name, text=row["sentence"])


CORPUS = Corpus(
    name="common_voice",
    title="Common Voice",
    licence="CC0-1.0",
    citation="Ardila et al. (2020), Common Voice: A Massively-Multilingual Speech Corpus, LREC",
    detect=detect,
    parse=parse,
)
