"""A corpus looked over before it is used: what is in it, what is wrong with it, who is in which part of which fold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from statistics import median

from affetto import audio
from affetto.data.corpora import CORPORA, Skipped, nothing_usable, open_corpus
from affetto.data.corpora.files import in_threads
from affetto.data.folds import FOLDS, read_folds
from affetto.data.labels import Labelling, label
from affetto.data.manifest import read_manifest
from affetto.data.prepare import BEGINS_AFTER, ENDS_AFTER, UNREADABLE, WITHOUT_SAMPLES, duration_within
from affetto.data.protocols import Missing, Protocol, make_folds, missing_emotions
from affetto.data.splits import PARTS, Split, by_speaker, check_disjoint
from affetto.data.utterance import Utterance
from affetto.errors import AudioError, SplitError
from affetto.text import without_marks

EXAMPLES_PER_REASON = 3
FAULTS = frozenset({"audio missing", UNREADABLE, WITHOUT_SAMPLES, BEGINS_AFTER, ENDS_AFTER})
"""What is wrong with a copy of a corpus, rather than left out of it on purpose."""
MANIFEST = "manifest.jsonl"  # What a run folder holds of its utterances


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusSummary:
    """What is in a corpus, counted by name, of utterances whose audio opens; a few that were skipped are examples."""

    name: str
    title: str
    licence: str
    utterances: int
    hours: float
    speakers: int
    emotions: Mapping[str, int]
    unlabelled: int
    dimensions: Mapping[str, int]
    partitions: Mapping[str, int]
    transcribed: int
    duration_min_s: float
    duration_median_s: float
    duration_max_s: float
    skipped: Mapping[str, int]
    examples: tuple[Skipped, ...]

    @property
    def faulty(self) -> bool:
        """Whether sound is missing, ends before its utterances do, or cannot be read."""
        return not FAULTS.isdisjoint(self.skipped)


def check_corpus(
    path: Path, *, name: str | None = None, progress: Callable[[int, int], None] | None = None
) -> CorpusSummary:
    """Reads a corpus, see `open_corpus`, and measures each of its sound files.

    ``progress`` is called with (files done, files in all). Raises CorpusError or ManifestError, as `open_corpus` does.
    """
    parsed = open_corpus(path, name)
    lengths = dict[Path, float | None]()
    files = sorted({utterance.audio for utterance in parsed.utterances})
    for file, file_s in in_threads(_file_duration, files):
        lengths[file] = file_s
        if progress is not None:
            progress(len(lengths), len(files))
    usable, durations, skipped = list[Utterance](), list[float](), list(parsed.skipped)
    for utterance in parsed.utterances:
        duration_s = _duration(utterance, lengths[utterance.audio])
        if isinstance(duration_s, Skipped):
            skipped.append(duration_s)
        else:
            usable.append(utterance)
            durations.append(duration_s)
    if not usable:
        raise nothing_usable(parsed.root, skipped)
    corpus = CORPORA.load(parsed.corpus)
    return CorpusSummary(
        name=corpus.name,
        title=corpus.title,
        licence=corpus.licence,
        utterances=len(usable),
        hours=sum(durations) / 3600,
        speakers=len({(utterance.corpus, utterance.speaker) for utterance in usable}),
        emotions=_count(utterance.emotion for utterance in usable),
        unlabelled=sum(utterance.emotion is None for utterance in usable),
        dimensions=_count(name for utterance in usable for name in utterance.dimensions or ()),
        partitions=_count(utterance.partition for utterance in usable),
        transcribed=sum(bool(without_marks(utterance.text or "")) for utterance in usable),
        duration_min_s=min(durations),
        duration_median_s=median(durations),
        duration_max_s=max(durations),
        skipped=_count(item.reason for item in skipped),
        examples=_examples(skipped),
    )


def _file_duration(path: Path) -> tuple[Path, float | None]:
    """A file's seconds; None where it cannot be opened."""
    try:
        return path, audio.duration(path)
    except AudioError:
        return path, None


def _duration(utterance: Utterance, file_s: float | None) -> float | Skipped:
    """Seconds of an utterance within its file, or why it is of no use."""
    found = Skipped("", UNREADABLE) if file_s is None else duration_within(utterance, file_s)
    if isinstance(found, Skipped):
        return Skipped(utterance.id if file_s else str(utterance.audio), found.reason)
    return found


def _count(values: Iterable[str | None]) -> dict[str, int]:
    """How often each value is there, by name; what is not known does not count."""
    return dict(sorted(Counter(value for value in values if value is not None).items()))


def _examples(skipped: Iterable[Skipped]) -> tuple[Skipped, ...]:
    ordered = sorted(skipped, key=lambda each: (each.reason, each.what))
    by_reason = groupby(ordered, key=lambda each: each.reason)
    return tuple(each for _, some in by_reason for each in islice(some, EXAMPLES_PER_REASON))


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

    Raises SplitError where the file cannot be read, a speaker is unknown, or a part of a fold is empty.
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
    never, repeatedly = len(used.keys() - tested.keys()), sum(times > 1 for times in tested.values())
    return DivisionReport(tuple(parts), tuple(missing_emotions(folds)), never, repeatedly)
