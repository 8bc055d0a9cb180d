"""Any corpus made ready for training: 16 kHz mono FLAC, texts in the alphabet, real durations, and a manifest.

What is left in the folder::

    manifest.jsonl      the utterances; affetto reads the folder as a corpus by it
    left-out.csv        what is not in it, and why
    corpus.json         where it came from: title, licence, citation, limits, counts
    audio/              corpus/speaker/utterance.flac
    journal.jsonl       what was made from which file, so that nothing is made twice
    unpacked/           the contents of archives, where the corpus had any; may be deleted when all is done
"""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from affetto import audio, text
from affetto.data.corpora import Corpus, Skipped, archives, find_corpus, nothing_usable
from affetto.data.journal import Journal, Made, Origin, file_names
from affetto.data.manifest import write_manifest
from affetto.data.parallel import Progress, in_threads
from affetto.data.utterance import Utterance
from affetto.errors import AudioError, CorpusError

MANIFEST, LEFT_OUT, FACTS, JOURNAL = "manifest.jsonl", "left-out.csv", "corpus.json", "journal.jsonl"
SOUNDS, UNPACKED = "audio", "unpacked"
SLACK_S = 0.5
"""So far an utterance may go beyond the end of its file, as rounded times do, before its text is that of lost sound."""

UNREADABLE = "unreadable audio"
FAULTS = frozenset({UNREADABLE, *archives.FAULTS})
"""What a file is left out for that may be a sound one if it is copied again."""


class LeftOut(NamedTuple):
    """What is not in the manifest.

    Attributes:
        what: the utterance, file or line.
        reason: a short class of fault that can be counted ("over 15 s").
        detail: more of it ("breaks off after 1.20 s of 3.00 s"); may be empty.
    """

    what: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedCorpus:
    """What was prepared.

    Attributes:
        corpus: the layout that was read.
        manifest: the file that lists it.
        utterances: how many there are.
        hours: how long they are together.
        speakers: how many there are.
        partitions: official part -> utterances.
        transcribed: how many utterances have a text.
        made: how many sound files were written by this call; the others were there.
        left_out: all that is not in the manifest.
    """

    corpus: Corpus
    manifest: Path
    utterances: int
    hours: float
    speakers: int
    partitions: Mapping[str, int]
    transcribed: int
    made: int
    left_out: tuple[LeftOut, ...]

    @property
    def reasons(self) -> dict[str, int]:
        """Reason -> how much was left out for it, the most frequent first."""
        return dict(Counter(each.reason for each in self.left_out).most_common())

    @property
    def faults(self) -> int:
        """How many files could not be read."""
        return sum(each.reason in FAULTS for each in self.left_out)


class _Task(NamedTuple):
    """An utterance, and the name of its file to be, below the folder of sound."""

    utterance: Utterance
    file: str


class _Done(NamedTuple):
    """What became of a task: the utterance as prepared, or why there is none; and whether its file was made now."""

    outcome: Utterance | LeftOut
    made: bool = False


def prepare_corpus(
    path: Path,
    output: Path,
    *,
    name: str | None = None,
    max_duration_s: float = 15.0,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> PreparedCorpus:
    """Makes a manifest of a corpus, of which everything has been opened, decoded and found usable.

    Stopped anywhere, the same call goes on from there: a sound file that is whole and was made from the same source is
    not made again. Utterances without a transcript are left out, unless there is an emotion to learn from them.

    Args:
        path: see `find_corpus`.
        output: the folder to write into: a new one, an empty one, or one that was prepared before.
        name: the layout; None looks at the folder.
        max_duration_s: longer utterances are left out (15 s in the paper).
        jobs: files made at a time; None suits the machine.
        progress: called with what is done, how much there is, and whether it is "unpacking" or "preparing".

    Raises:
        CorpusError: no layout fits, nothing usable is in it, or the output is no place for it.
        ManifestError: a line of a manifest is faulty.
        OSError: the output cannot be written.
    """
    report = progress or _silent
    root, corpus = find_corpus(path, name)
    _check_output(root, output)
    output.mkdir(parents=True, exist_ok=True)
    kept, left_out, made = list[Utterance](), list[LeftOut](), 0
    with Journal.open(output / JOURNAL) as journal:
        parsed = corpus.parse(root) if corpus.unpack is None else corpus.unpack(root, output / UNPACKED, report)
        work = partial(_prepare, folder=output / SOUNDS, journal=journal, max_duration_s=max_duration_s)
        tasks = map(_Task, parsed.utterances, file_names(parsed.utterances))
        for number, done in enumerate(in_threads(work, tasks, jobs), start=1):
            made += done.made
            if isinstance(done.outcome, LeftOut):
                left_out.append(done.outcome)
            else:
                kept.append(done.outcome)
            report(number, len(parsed.utterances), "preparing")
    left_out += (LeftOut(skipped.what, skipped.reason) for skipped in parsed.skipped)
    left_out.sort(key=lambda each: (each.reason, each.what))
    _write_left_out(output / LEFT_OUT, left_out)
    if not kept:
        raise nothing_usable(root, (Skipped(each.what, each.reason) for each in left_out))
    kept.sort(key=lambda each: (each.corpus, each.id))
    prepared = _sum_up(corpus, output / MANIFEST, kept, left_out, made)
    _write(output / FACTS, json.dumps(_facts(prepared, max_duration_s), indent=2) + "\n")
    write_manifest(prepared.manifest, kept)
    return prepared


def _silent(done: int, total: int, what: str) -> None:
    del done, total, what


def _check_output(root: Path, output: Path) -> None:
    """That what is written can be taken neither for the corpus itself nor for something of the user's."""
    here, there = root.resolve(), output.resolve()
    if root.is_dir() and there.is_relative_to(here):
        raise CorpusError("lies within the corpus", "give a folder outside of it", output)
    if output.is_dir() and next(output.iterdir(), None) is not None and not (output / JOURNAL).is_file():
        raise CorpusError("not empty, and nothing was prepared in it", "give a new or an empty folder", output)


def _prepare(task: _Task, *, folder: Path, journal: Journal, max_duration_s: float) -> _Done:
    """Makes the file of one utterance, unless it is there or must not be."""
    utterance, path = task.utterance, folder / task.file
    spoken = text.normalise(utterance.text or "")
    if not spoken and not (utterance.emotion or utterance.votes or utterance.ratings):
        return _Done(LeftOut(utterance.id, "no transcript"))
    try:
        origin = Origin.of(utterance)
        known = journal.whole(task.file, origin, path)
        duration_s = _duration_s(utterance) if known is None else known.duration_s
        if isinstance(duration_s, LeftOut):
            return _Done(duration_s)
        if duration_s > max_duration_s:
            return _Done(LeftOut(utterance.id, f"over {max_duration_s:g} s", f"{duration_s:.2f} s"))
        if known is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            blocks = audio.stream(utterance.audio, start_s=utterance.start_s, end_s=utterance.end_s)
            duration_s = audio.write_flac(path, blocks)
            journal.add(Made(task.file, origin, duration_s, path.stat().st_size))
    except AudioError as error:
        return _Done(LeftOut(utterance.id, UNREADABLE, f"{utterance.audio}: {error.problem}"))
    return _Done(replace(utterance, audio=path, start_s=0.0, end_s=duration_s, text=spoken or None), made=known is None)


def _duration_s(utterance: Utterance) -> float | LeftOut:
    """Seconds of an utterance, or why it is of no use."""
    file_s = audio.duration(utterance.audio)
    last = "the end" if utterance.end_s is None else f"{utterance.end_s:.2f}"
    times = f"{utterance.start_s:.2f} to {last}, of {file_s:.2f} s"
    if file_s == 0:
        return LeftOut(utterance.id, "audio without samples", str(utterance.audio))
    if utterance.start_s >= file_s:
        return LeftOut(utterance.id, "begins after the audio's end", times)
    if utterance.end_s is not None and utterance.end_s > file_s + SLACK_S:
        return LeftOut(utterance.id, "ends after the audio's end", times)
    return min(file_s, file_s if utterance.end_s is None else utterance.end_s) - utterance.start_s


def _sum_up(
    corpus: Corpus, manifest: Path, kept: Sequence[Utterance], left_out: Sequence[LeftOut], made: int
) -> PreparedCorpus:
    return PreparedCorpus(
        corpus=corpus,
        manifest=manifest,
        utterances=len(kept),
        hours=sum(each.end_s or 0.0 for each in kept) / 3600,
        speakers=len({(each.corpus, each.speaker) for each in kept}),
        partitions=dict(sorted(Counter(each.partition for each in kept if each.partition is not None).items())),
        transcribed=sum(each.text is not None for each in kept),
        made=made,
        left_out=tuple(left_out),
    )


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


def _write_left_out(path: Path, left_out: Sequence[LeftOut]) -> None:
    content = StringIO(newline="")
    table = csv.writer(content, lineterminator="\n")
    table.writerow(LeftOut._fields)
    table.writerows(map(text.harmless, left_out))
    _write(path, content.getvalue())


def _write(path: Path, content: str) -> None:
    """Whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    draft.write_text(content, encoding="utf-8", errors="backslashreplace", newline="\n")
    draft.replace(path)
