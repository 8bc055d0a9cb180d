"""A division of a corpus laid open: who is in which part of which fold, and that no speaker is in two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from affetto.data.corpora import open_corpus
from affetto.data.folds import FOLDS, PARTS, read_folds
from affetto.data.labels import Labelling, label
from affetto.data.manifest import read_manifest
from affetto.data.protocols import Missing, Protocol, make_folds, missing_emotions
from affetto.data.splits import Split, by_speaker, check_disjoint
from affetto.data.utterance import Utterance
from affetto.errors import SplitError

MANIFEST = "manifest.jsonl"
"""What a run folder holds of its utterances."""


@dataclass(frozen=True, slots=True)
class PartSummary:
    """One part of one fold.

    Attributes:
        fold: its number.
        part: train, validation or test.
        speakers: "corpus/speaker", in order.
        utterances: how many.
        emotions: emotion -> utterances; 0 where another part has some.
    """

    fold: int
    part: str
    speakers: tuple[str, ...]
    utterances: int
    emotions: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class DivisionReport:
    """What a division is like; there is none of one that leaks.

    Attributes:
        parts: of every fold, in order.
        missing: where there is no utterance of an emotion.
        never_tested: utterances that train or validate, but are tested in no fold.
        tested_repeatedly: utterances that are tested in several folds.
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
    """Divides the speakers of a corpus as an experiment would.

    Args:
        path: see `open_corpus`.
        protocol: who trains, validates and tests.
        layout: the layout's registered name; None looks at the folder.
        labelling: which emotion an utterance counts as; None takes the corpus's labels.
        classes: the emotions to distinguish; None takes every one that the corpus gives.
        seed: of the folds.

    Raises:
        AffettoError: there is no such corpus, its labels are others, or it cannot be divided like this.
    """
    utterances = open_corpus(path, layout).utterances
    given = sorted({each.emotion for each in utterances if each.emotion is not None})
    labelled = label(utterances, labelling or Labelling(), given if classes is None else classes)
    return make_folds([each.utterance for each in labelled], protocol, group=by_speaker, seed=seed)


def given_folds(path: Path, folds_path: Path | None = None, *, layout: str | None = None) -> list[Split]:
    """Reads which speakers are in which part of which fold; utterances of others are in none.

    Args:
        path: a run folder, or a corpus; see `open_corpus`.
        folds_path: a CSV file, see `affetto.data.folds`; None takes the run folder's own.
        layout: the corpus's layout; None looks at the folder.

    Raises:
        SplitError: the file cannot be read, a speaker is unknown, or a part of a fold is empty.
        CorpusError: there is no such corpus.
        ManifestError: a line of a manifest is faulty.
    """
    own = is_run_folder(path)
    # The sound of a run may be elsewhere by now, so that its manifest is read without looking for it.
    utterances: Sequence[Utterance] = read_manifest(path / MANIFEST) if own else open_corpus(path, layout).utterances
    source = folds_path or path / FOLDS
    folds = read_folds(source, utterances)
    if not folds:
        raise SplitError("no folds in it", "write lines of fold, part and speaker", source)
    for number, fold in folds.items():
        empty = next((part for part in PARTS if not getattr(fold, part)), None)
        if empty:
            remedy = f"name speakers of the parts {', '.join(PARTS)}"
            raise SplitError(f"the {empty} part is empty", remedy, f"{source}, fold {number}")
    return list(folds.values())


def is_run_folder(path: Path) -> bool:
    """Whether a division lies in a folder together with its utterances."""
    return (path / FOLDS).is_file() and (path / MANIFEST).is_file()


def report(folds: Sequence[Split]) -> DivisionReport:
    """Counts what is in every part, and makes sure that no speaker is in two.

    Raises:
        SplitError: speakers are; it names them and the fold.
    """
    for number, split in enumerate(folds):
        try:
            check_disjoint(split, by_speaker)
        except SplitError as error:
            raise SplitError(error.problem, error.remedy, f"fold {number}") from error
    parts = [(number, part, getattr(split, part)) for number, split in enumerate(folds) for part in PARTS]
    emotions = sorted({each.emotion for *_, utterances in parts for each in utterances if each.emotion})
    used = {(each.corpus, each.id) for *_, utterances in parts for each in utterances}
    tested = Counter((each.corpus, each.id) for split in folds for each in split.test)
    return DivisionReport(
        parts=tuple(_summary(number, part, utterances, emotions) for number, part, utterances in parts),
        missing=tuple(missing_emotions(folds)),
        never_tested=len(used - set(tested)),
        tested_repeatedly=sum(times > 1 for times in tested.values()),
    )


def _summary(fold: int, part: str, utterances: Sequence[Utterance], emotions: Sequence[str]) -> PartSummary:
    counts = Counter(each.emotion for each in utterances)
    speakers = tuple(sorted({by_speaker(each) for each in utterances}))
    return PartSummary(fold, part, speakers, len(utterances), {emotion: counts[emotion] for emotion in emotions})
