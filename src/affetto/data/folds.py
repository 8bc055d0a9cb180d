"""Who is who over several corpora, and ``folds.csv``: who is in which part of which fold (``0,test,mine/bob``).

An utterance's id and a speaker's name are unique within a corpus alone. Where two corpora share one, it is written
corpus/name, everywhere: in ``folds.csv``, in predictions and in what a recipe asks for.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from affetto.data.splits import PARTS, Split, by_speaker, listed
from affetto.data.utterance import Utterance
from affetto.errors import SharedNameError, SplitError

FOLDS = "folds.csv"  # What the file is called in a run folder
By = Literal["speaker", "session", "partition", "corpus"]
Name = Literal["id", "speaker", "session", "partition", "corpus"]

_COLUMNS = ("fold", "part", "speaker")
_REMEDY = f"write lines of {', '.join(_COLUMNS)} under a line with these names"


def full_name(utterance: Utterance, of: Name) -> str:
    """The name with the corpus before it, or the corpus's own; "" where there is none.

    >>> full_name(Utterance(id="a1", audio=Path("a1.wav"), speaker="anna", corpus="mine"), "id")
    'mine/a1'
    """
    if of == "corpus":
        return utterance.corpus
    name = utterance.group if of == "session" else getattr(utterance, of)
    return f"{utterance.corpus}/{name}" if name else ""


def known_names(utterances: Sequence[Utterance], of: Name) -> dict[str, set[str]]:
    """Every name, with the corpus before it and without, and which full names it stands for."""
    known: dict[str, set[str]] = {}
    for each in utterances:
        full = full_name(each, of)
        if not full:
            raise SplitError(f"has no {of}", "divide by something that every utterance has", each.id)
        for name in (full, full.removeprefix(f"{each.corpus}/")):
            known.setdefault(name, set()).add(full)
    return known


def resolve(names: Collection[str], known: Mapping[str, set[str]], of: Name) -> set[str]:
    """The full names that these stand for, see `known_names`.

    Raises SplitError where there is no such name, SharedNameError where two corpora have a speaker or session of it.
    """
    unknown = set(names) - set(known)
    if unknown:
        raise SplitError(f"no such {of}: {listed(unknown)}", f"choose among {listed(set().union(*known.values()))}")
    chosen = set[str]()
    for name in names:
        found = {name} & known[name] or known[name]  # a name with its corpus is never another corpus's without
        # "test" is the test part of every corpus, but speaker "1" of one is not speaker "1" of another.
        if of != "partition" and len(found) > 1:
            raise SharedNameError(f"the {of} {name} is in several corpora", f"write {' or '.join(sorted(found))}")
        chosen |= found
    return chosen


def short_names(utterances: Sequence[Utterance], of: Name) -> list[str]:
    """A name for each utterance that `resolve` understands: without the corpus where only one has it."""
    known = known_names(utterances, of)
    names = [(full_name(each, of), f"{each.corpus}/") for each in utterances]
    return [full if len(known[full.removeprefix(corpus)]) > 1 else full.removeprefix(corpus) for full, corpus in names]


def write_folds(path: Path, utterances: Sequence[Utterance], folds: Sequence[Split]) -> None:
    """Writes a line for each speaker in a part of a fold; speakers have the `short_names` of all the utterances."""
    short = dict(zip(map(by_speaker, utterances), short_names(utterances, "speaker"), strict=True))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for number, fold in enumerate(folds):
            for part, some in zip(PARTS, fold, strict=True):
                speakers = sorted({short[by_speaker(each)] for each in some})
                writer.writerows((number, part, speaker) for speaker in speakers)


def read_folds(path: Path, utterances: Sequence[Utterance]) -> dict[int, Split]:
    """Reads what `write_folds` wrote, or others: lines and columns in any order, and parts without anyone.

    Folds are numbered and in order; utterances of speakers whom one does not name are not in it. Whether folds leak is
    not looked at. Raises SplitError where the file cannot be read or a speaker is unknown, or in several corpora.
    """
    known = known_names(utterances, "speaker")
    speakers: dict[int, dict[str, set[str]]] = {}
    for where, fold, part, speaker in _lines(path):
        try:
            speakers.setdefault(fold, {name: set() for name in PARTS})[part] |= resolve([speaker], known, "speaker")
        except SplitError as error:
            raise type(error)(error.problem, error.remedy, where) from error
    return {
        fold: Split(*(tuple(each for each in utterances if by_speaker(each) in parts[part]) for part in PARTS))
        for fold, parts in sorted(speakers.items())
    }


def _lines(path: Path) -> Iterator[tuple[str, int, str, str]]:
    """Where a line is, and its fold, part and speaker."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file, strict=True)
            header = next(rows, [])
            if sorted(header) != sorted(_COLUMNS):
                raise SplitError(f"the columns are {', '.join(header) or 'none'}", _REMEDY, path)
            for row in filter(None, rows):
                yield _line(header, row, f"{path}:{rows.line_num}")
    except OSError as error:
        raise SplitError(error.strerror or str(error), "check the path of the folds", path) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise SplitError(f"not a CSV file: {error}", _REMEDY, path) from error


def _line(header: Sequence[str], row: Sequence[str], where: str) -> tuple[str, int, str, str]:
    if len(row) != len(header):
        raise SplitError(f"{len(row)} values", _REMEDY, where)
    fold, part, speaker = (row[header.index(name)] for name in _COLUMNS)
    if not (fold.isascii() and fold.isdigit() and len(fold) < 10):
        raise SplitError(f"the fold is {fold!r}", "number the folds from 0", where)
    if part not in PARTS:
        raise SplitError(f"the part is {part!r}", f"name one of {', '.join(PARTS)}", where)
    return where, int(fold), part, speaker
