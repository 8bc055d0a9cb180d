"""A division of a corpus laid open: who is in which part of which fold, and that no speaker is in two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from affetto.data.corpora import open_corpus
from affetto.data.folds import FOLDS, read_folds
from affetto.data.labels import Labelling, label
from affetto.data.manifest import read_manifest
from affetto.data.protocols import Missing, Protocol, make_folds, missing_emotions
from affetto.data.splits import PARTS, Split, by_speaker, check_disjoint
from affetto.errors import SplitError

MANIFEST = "manifest.jsonl"  # What a run folder holds of its utterances


@dataclass(frozen=True, slots=True)
class PartSummary:
    """One part of one fold: its speakers ("corpus/speaker", in order), and emotion -> utterances, perhaps 0."""

    fold: int
    part: str
    speakers: tuple[str, ...]
    utterances: int
    emotions: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class DivisionReport:
    """What a division is like, part by part of every fold; there is none of one that leaks.

    Never tested are utterances that only train or validate.
    """

    parts: tuple[PartSummary, ...]
    missing: tuple[Missing, ...]
    never_tested: int
    tested_repeatedly: int


def divide(
    path: Path,
    protocol: Protocol,
    *,
    layout: str | None = None,
    labelling: Labelling | None = None,
    classes: Sequence[str] | None = None,
    seed: int = 1,
) -> list[Split]:
    """Divides the speakers of a corpus, see `open_corpus`, as an experiment would.

    Labels are the corpus's where there is no labelling, and classes all of them where none are given.
    """
    utterances = open_corpus(path, layout).utterances
    given = sorted({each.emotion for each in utterances if each.emotion is not None})
    labelled = label(utterances, labelling or Labelling(), given if classes is None else classes)
    return make_folds([each.utterance for each in labelled], protocol, group=by_speaker, seed=seed)


def given_folds(path: Path, folds_path: Path | None = None, *, layout: str | None = None) -> list[Split]:
    """The folds of a run folder or a CSV file (see `affetto.data.folds`), of a run's utterances or a corpus's.

    Raises:
        SplitError: the file cannot be read, a speaker is unknown, or a part of a fold is empty.
    """
    # The sound of a run may be elsewhere by now, so that its manifest is read without looking for it.
    own = is_run_folder(path)
    utterances = tuple(read_manifest(path / MANIFEST)) if own else open_corpus(path, layout).utterances
    source = folds_path or path / FOLDS
    folds = read_folds(source, utterances)
    if not folds:
        raise SplitError("no folds in it", "write lines of fold, part and speaker", source)
    for number, fold in folds.items():
        for part, some in zip(PARTS, fold, strict=True):
            if not some:
                remedy = f"name speakers of the parts {', '.join(PARTS)}"
                raise SplitError(f"the {part} part is empty", remedy, f"{source}, fold {number}")
    return list(folds.values())


def is_run_folder(path: Path) -> bool:
    """Whether a division lies in a folder together with its utterances."""
    return (path / FOLDS).is_file() and (path / MANIFEST).is_file()


def report(folds: Sequence[Split]) -> DivisionReport:
    """Counts what is in every part; raises SplitError, naming speakers and fold, where one is in two."""
    for number, split in enumerate(folds):
        try:
            check_disjoint(split, by_speaker)
        except SplitError as error:
            raise SplitError(error.problem, error.remedy, f"fold {number}") from error
    used = {each.key: each.emotion for split in folds for some in split for each in some}
    emotions = sorted({emotion for emotion in used.values() if emotion})
    parts = []
    for number, split in enumerate(folds):
        for part, some in zip(PARTS, split, strict=True):
            counts = Counter(each.emotion for each in some)
            speakers = tuple(sorted(set(map(by_speaker, some))))
            parts.append(PartSummary(number, part, speakers, len(some), {name: counts[name] for name in emotions}))
    tested = Counter(each.key for split in folds for each in split.test)
    return DivisionReport(
        parts=tuple(parts),
        missing=tuple(missing_emotions(folds)),
        never_tested=len(used.keys() - tested.keys()),
        tested_repeatedly=sum(times > 1 for times in tested.values()),
    )
