"""Mozilla Common Voice, one language: ``validated.tsv`` and ``clips/``.

https://commonvoice.mozilla.org
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from affetto.data.corpora.corpus import Corpus, Found, Skipped
from affetto.data.corpora.files import read_lines, sound_stem
from affetto.data.utterance import Utterance
from affetto.errors import CorpusError


def read(path: Path) -> Iterator[Found]:
    """Reads the validated clips; the speaker is the ``client_id``.

    The official train, dev and test lists are not read: they leave out most of the validated clips.
    """
    table = path / "validated.tsv"
    (_, header), *lines = read_lines(table) or [(0, "")]
    columns = header.split("\t")
    missing = {"client_id", "path", "sentence"}.difference(columns)
    if missing:
        raise CorpusError(f"no column {', '.join(sorted(missing))}", "take the list of the official release", table)
    for number, line in lines:
        cells = line.split("\t")  # nothing is quoted: a quotation mark is part of the sentence
        if len(cells) != len(columns):
            yield Skipped(f"{table.name}:{number}", "malformed line")
            continue
        row = dict(zip(columns, (cell.strip() for cell in cells), strict=True))
        name, speaker, sentence = Path(row["path"]).name, row["client_id"], row["sentence"]
        if name and speaker and sentence:
            audio = path / "clips" / name
            yield Utterance(id=sound_stem(name), audio=audio, speaker=speaker, corpus=CORPUS.name, text=sentence)
        else:
            reason = "no speaker" if not speaker else "no transcript" if not sentence else "audio missing"
            yield Skipped(row["path"] or f"{table.name}:{number}", reason)


CORPUS = Corpus(
    name="common_voice",
    title="Common Voice",
    licence="CC0-1.0",
    citation="Ardila et al. (2020), Common Voice: A Massively-Multilingual Speech Corpus, LREC",
    detect=lambda path: (path / "validated.tsv").is_file() and (path / "clips").is_dir(),
    read=read,
)
