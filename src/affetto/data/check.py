"""A corpus looked over before it is used: how much, of whom, of what, and what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from affetto import audio
from affetto.data.corpora import CORPORA, Skipped, nothing_usable, open_corpus
from affetto.data.parallel import in_threads
from affetto.data.utterance import Utterance
from affetto.errors import AudioError
from affetto.text import without_marks

EXAMPLES_PER_REASON = 3
UNREADABLE, WITHOUT_SAMPLES, BEYOND = "unreadable audio", "audio without samples", "begins after the audio's end"
FAULTS = frozenset({"audio missing", UNREADABLE, WITHOUT_SAMPLES, BEYOND})
"""What is wrong with a copy of a corpus, rather than left out of it on purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusSummary:
    """What is in a corpus; only utterances whose audio opens are counted.

    Attributes:
        name: the layout's registered name.
        title: the layout's title.
        licence: the licence of the data.
        utterances: how many are usable.
        hours: how long they are together.
        speakers: how many there are.
        emotions: label -> utterances.
        unlabelled: utterances without a label.
        partitions: official part -> utterances.
        transcribed: how many utterances have a text.
        duration_min_s: the shortest utterance, seconds.
        duration_median_s: the median utterance, seconds.
        duration_max_s: the longest utterance, seconds.
        skipped: reason -> how many things were left out for it.
        examples: a few of what was left out for each reason.
    """

    name: str
    title: str
    licence: str
    utterances: int
    hours: float
    speakers: int
    emotions: Mapping[str, int]
    unlabelled: int
    partitions: Mapping[str, int]
    transcribed: int
    duration_min_s: float
    duration_median_s: float
    duration_max_s: float
    skipped: Mapping[str, int]
    examples: tuple[Skipped, ...]

    @property
    def faulty(self) -> bool:
        """Whether sound is missing or cannot be read."""
        return not FAULTS.isdisjoint(self.skipped)


def check_corpus(
    path: Path,
    *,
    name: str | None = None,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CorpusSummary:
    """Reads a corpus and measures each of its sound files.

    Args:
        path: see `open_corpus`.
        name: the layout; None looks at the folder.
        jobs: files opened at a time; None suits the machine.
        progress: called with (files done, files in all) after each file.

    Raises:
        CorpusError: no layout fits, or nothing usable is in it.
        ManifestError: a line of a manifest is faulty.
    """
    parsed = open_corpus(path, name)
    lengths = _file_durations({utterance.audio for utterance in parsed.utterances}, jobs, progress)
    durations: list[float] = []
    usable: list[Utterance] = []
    skipped = list(parsed.skipped)
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
        partitions=_count(utterance.partition for utterance in usable),
        transcribed=sum(bool(without_marks(utterance.text or "")) for utterance in usable),
        duration_min_s=min(durations),
        duration_median_s=median(durations),
        duration_max_s=max(durations),
        skipped=_count(item.reason for item in skipped),
        examples=_examples(skipped),
    )


def _file_durations(
    paths: set[Path], jobs: int | None, progress: Callable[[int, int], None] | None
) -> dict[Path, float | None]:
    """File -> seconds, None where it cannot be opened."""
    durations: dict[Path, float | None] = {}
    for path, duration_s in in_threads(_file_duration, sorted(paths), jobs):
        durations[path] = duration_s
        if progress is not None:
            progress(len(durations), len(paths))
    return durations


def _file_duration(path: Path) -> tuple[Path, float | None]:
    try:
        return path, audio.duration(path)
    except AudioError:
        return path, None


def _duration(utterance: Utterance, file_s: float | None) -> float | Skipped:
    """Seconds of an utterance within its file, or why it is of no use."""
    if file_s is None:
        return Skipped(str(utterance.audio), UNREADABLE)
    end_s = file_s if utterance.end_s is None else min(utterance.end_s, file_s)
    if end_s <= utterance.start_s:
        what = str(utterance.audio) if file_s == 0 else utterance.id
        return Skipped(what, WITHOUT_SAMPLES if file_s == 0 else BEYOND)
    return end_s - utterance.start_s


def _count(values: Iterable[str | None]) -> dict[str, int]:
    """How often each value is there, by name; what is not known does not count."""
    counts = Counter(value for value in values if value is not None)
    return dict(sorted(counts.items()))


def _examples(skipped: Sequence[Skipped]) -> tuple[Skipped, ...]:
    shown: Counter[str] = Counter()
    examples = []
    for item in sorted(skipped, key=lambda each: (each.reason, each.what)):
        shown[item.reason] += 1
        if shown[item.reason] <= EXAMPLES_PER_REASON:
            examples.append(item)
    return tuple(examples)
