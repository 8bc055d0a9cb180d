"""Any corpus made ready for training: 16 kHz mono FLAC, texts in the alphabet, real durations, and a manifest."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from threading import Lock
from typing import IO, NamedTuple

from affetto import audio, text
from affetto.data.corpora import Corpus, Skipped, archives, find_corpus, nothing_usable
from affetto.data.corpora.files import Progress, in_threads, silent
from affetto.data.manifest import read_journal, write_manifest
from affetto.data.utterance import Utterance
from affetto.errors import AudioError, CorpusError
from affetto.files import write_text

MANIFEST = "manifest.jsonl"  # The utterances; affetto reads the folder as a corpus by it
LEFT_OUT = "left-out.csv"  # What is not in it, and why
FACTS = "corpus.json"  # Where it came from: title, licence, citation, limits, counts
JOURNAL = "journal.jsonl"  # What was made from which file, so that nothing is made twice
SOUNDS = "audio"  # corpus/speaker/utterance.flac
UNPACKED = "unpacked"  # The contents of archives, where the corpus had any; may be deleted when all is done
SLACK_S = 0.5
"""So far an utterance may go beyond the end of its file, as rounded times do, before its text is that of lost sound."""

UNREADABLE, WITHOUT_SAMPLES = "unreadable audio", "audio without samples"
BEGINS_AFTER, ENDS_AFTER = "begins after the audio's end", "ends after the audio's end"
FAULTS = frozenset({UNREADABLE, *archives.FAULTS})
"""What a file is left out for that may be a sound one if it is copied again."""

_LONGEST_NAME = 100
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedCorpus:
    """What was prepared: the layout that was read, the manifest, what is in it, and all that is not."""

    corpus: Corpus
    manifest: Path
    utterances: int
    hours: float
    speakers: int
    partitions: Mapping[str, int]
    transcribed: int
    made: int  # how many sound files were made by this call; the others were there
    left_out: tuple[Skipped, ...]

    @property
    def reasons(self) -> dict[str, int]:
        """Reason -> how much was left out for it, the most frequent first."""
        return dict(Counter(each.reason for each in self.left_out).most_common())

    @property
    def faults(self) -> int:
        """How many files could not be read."""
        return sum(each.reason in FAULTS for each in self.left_out)


def prepare_corpus(
    path: Path,
    output: Path,
    *,
    name: str | None = None,
    max_duration_s: float = 15.0,
    jobs: int | None = None,
    progress: Progress = silent,
) -> PreparedCorpus:
    """Makes a manifest of a corpus, of which everything has been opened, decoded and found usable.

    Stopped anywhere, the same call goes on from there: a sound file that is whole and was made from the same source is
    not made again. Utterances without a transcript are left out, unless there is an emotion to train on.

    For path and name see `find_corpus`. The output is a new folder, an empty one, or one that was prepared before.
    Utterances longer than ``max_duration_s`` are left out (15 s in the paper). ``jobs`` files are made at a time; None
    suits the machine. ``progress`` is called with what is done, how much there is, and "unpacking" or "preparing".
    Raises what `open_corpus` does, CorpusError where the output is no place for it, OSError where it cannot be written.
    """
    root, corpus = find_corpus(path, name)
    _check_output(root, output)
    output.mkdir(parents=True, exist_ok=True)
    kept, left_out = list[Utterance](), list[Skipped]()
    with _Journal.open(output / JOURNAL) as journal:
        parsed = corpus.parse(root, output / UNPACKED, progress)

        def work(task: tuple[Utterance, str]) -> Utterance | Skipped:
            return _prepare(*task, output / SOUNDS, journal, max_duration_s)

        tasks = zip(parsed.utterances, file_names(parsed.utterances), strict=True)
        for number, outcome in enumerate(in_threads(work, tasks, jobs), start=1):
            if isinstance(outcome, Skipped):
                left_out.append(outcome)
            else:
                kept.append(outcome)
            progress(number, len(parsed.utterances), "preparing")
    left_out = sorted([*left_out, *parsed.skipped], key=lambda each: (each.reason, each.what))
    write_left_out(output / LEFT_OUT, left_out)
    if not kept:
        raise nothing_usable(root, left_out)
    kept.sort(key=lambda each: (each.corpus, each.id))
    prepared = PreparedCorpus(
        corpus=corpus,
        manifest=output / MANIFEST,
        utterances=len(kept),
        hours=sum(each.end_s or 0.0 for each in kept) / 3600,
        speakers=len({(each.corpus, each.speaker) for each in kept}),
        partitions=dict(sorted(Counter(each.partition for each in kept if each.partition is not None).items())),
        transcribed=sum(each.text is not None for each in kept),
        made=journal.added,
        left_out=tuple(left_out),
    )
    write_text(output / FACTS, json.dumps(_facts(prepared, max_duration_s), indent=2) + "\n")
    write_manifest(prepared.manifest, kept)
    return prepared


def _check_output(root: Path, output: Path) -> None:
    """That what is written can be taken neither for the corpus itself nor for something of the user's."""
    here, there = root.resolve(), output.resolve()
    if root.is_dir() and there.is_relative_to(here):
        raise CorpusError("lies within the corpus", "give a folder outside of it", output)
    if output.is_dir() and next(output.iterdir(), None) is not None and not (output / JOURNAL).is_file():
        raise CorpusError("not empty, and nothing was prepared in it", "give a new or an empty folder", output)


def _prepare(
    utterance: Utterance, file: str, folder: Path, journal: _Journal, max_duration_s: float
) -> Utterance | Skipped:
    """The utterance as prepared, or why there is none."""
    path = folder / file
    spoken = text.normalise(utterance.text or "")
    if not spoken and not (utterance.emotion or utterance.votes or utterance.ratings):
        return Skipped(utterance.id, "no transcript")
    try:
        origin = _Origin.of(utterance)
        known = journal.whole(file, origin, path)
        duration_s = known.duration_s if known else duration_within(utterance, audio.duration(utterance.audio))
        if isinstance(duration_s, Skipped):
            return duration_s
        if duration_s > max_duration_s:
            return Skipped(utterance.id, f"over {max_duration_s:g} s", f"{duration_s:.2f} s")
        if known is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            blocks = audio.stream(utterance.audio, start_s=utterance.start_s, end_s=utterance.end_s)
            duration_s = audio.write_flac(path, blocks)
            journal.add(_Made(file, origin, duration_s, path.stat().st_size))
    except AudioError as error:
        return Skipped(utterance.id, UNREADABLE, f"{utterance.audio}: {error.problem}")
    return replace(utterance, audio=path, start_s=0.0, end_s=duration_s, text=spoken or None)


def duration_within(utterance: Utterance, file_s: float) -> float | Skipped:
    """Seconds of an utterance in a file of some length, or why it is of no use."""
    last = "the end" if utterance.end_s is None else f"{utterance.end_s:.2f}"
    times = f"{utterance.start_s:.2f} to {last}, of {file_s:.2f} s"
    if file_s == 0:
        return Skipped(utterance.id, WITHOUT_SAMPLES, str(utterance.audio))
    if utterance.start_s >= file_s:
        return Skipped(utterance.id, BEGINS_AFTER, times)
    if utterance.end_s is not None and utterance.end_s > file_s + SLACK_S:
        return Skipped(utterance.id, ENDS_AFTER, times)
    return min(file_s, file_s if utterance.end_s is None else utterance.end_s) - utterance.start_s


def _facts(prepared: PreparedCorpus, max_duration_s: float) -> dict[str, object]:
    """What a user of the folder has to know of the corpus."""
    return {
        "version": 1,
        "corpus": prepared.corpus.name,
        "title": prepared.corpus.title,
        "licence": prepared.corpus.licence,
        "citation": prepared.corpus.citation,
        "max_duration_s": max_duration_s,
        "utterances": prepared.utterances,
        "transcribed": prepared.transcribed,
        "hours": prepared.hours,
        "speakers": prepared.speakers,
        "partitions": dict(prepared.partitions),
        "left_out": prepared.reasons,
    }


def write_left_out(path: Path, left_out: Sequence[Skipped]) -> None:
    """As CSV, whole or not at all."""
    content = StringIO(newline="")
    csv.writer(content, lineterminator="\n").writerows([Skipped._fields, *map(text.harmless, left_out)])
    write_text(path, content.getvalue(), errors="backslashreplace")


class _Origin(NamedTuple):
    """The stretch of a sound file that a file was made from; its folder does not count, for corpora move."""

    source: str
    bytes: int
    time_ns: int
    start_s: float
    end_s: float | None

    @classmethod
    def of(cls, utterance: Utterance) -> _Origin:
        try:
            found = utterance.audio.stat()
        except OSError as error:
            raise AudioError(error.strerror or str(error), "check the path", utterance.audio) from error
        return cls(utterance.audio.name, found.st_size, found.st_mtime_ns, utterance.start_s, utterance.end_s)


class _Made(NamedTuple):
    """A sound file that was made, by its path below the folder of all."""

    file: str
    origin: _Origin
    duration_s: float
    bytes: int


class _Journal:
    """The records of all files made in a folder; they may be added from several threads."""

    def __init__(self, file: IO[str], made: dict[str, _Made]) -> None:
        self.file, self.made, self.added, self._lock = file, made, 0, Lock()

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[_Journal]:
        """Reads a journal, and keeps it open."""
        made = {record.file: record for record in read_journal(path, _Made)}
        torn = path.exists() and path.read_bytes()[-1:] not in {b"", b"\n"}
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write("\n" if torn else "")
            yield cls(file, made)

    def add(self, record: _Made) -> None:
        """Writes a record down at once."""
        with self._lock:
            self.file.write(json.dumps(record) + "\n")
            self.file.flush()
            self.added += 1

    def whole(self, file: str, origin: _Origin, path: Path) -> _Made | None:
        """The record of a file that was made from this origin and lies at a path, whole as far as its header shows."""
        record = self.made.get(file)
        if record is None or record.origin != origin:
            return None
        try:
            is_whole = path.stat().st_size == record.bytes and audio.info(path).duration_s == record.duration_s
        except (OSError, AudioError):
            return None
        return record if is_whole else None


def file_names(utterances: Sequence[Utterance]) -> list[str]:
    """A path for each utterance, ``corpus/speaker/id.flac``, that is good on every system whatever the names are."""
    folders = _distinct({each.corpus for each in utterances} | {each.speaker for each in utterances})
    names = _distinct({each.id for each in utterances})
    return [f"{folders[each.corpus]}/{folders[each.speaker]}/{names[each.id]}.flac" for each in utterances]


def _distinct(names: set[str]) -> dict[str, str]:
    """Name -> one that is no path and is different even where case does not count."""
    alike = Counter(name.casefold() for name in names)
    safe = {name for name in names if _SAFE_NAME.fullmatch(name) and len(name) <= _LONGEST_NAME and name[-1] != "."}
    return {name: name if alike[name.casefold()] == 1 and name in safe else _spelt(name) for name in names}


def _spelt(name: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[: _LONGEST_NAME // 2]
    return f"{plain}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:8]}".lstrip("-")
