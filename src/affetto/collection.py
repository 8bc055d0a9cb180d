"""Any number of recordings become a folder of results: here, or by the workers of a cluster, who each write theirs."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import chain
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Literal, NamedTuple

from affetto import audio
from affetto.audio import Channels
from affetto.errors import AffettoError, AudioError, ConfigError, OutputError, RunError
from affetto.formats.folder import Identity, ResultFolder, result_names
from affetto.onnx.description import is_exported
from affetto.recognition import check_speakers
from affetto.recording import Recording
from affetto.streaming import Deferred, Failure, Source, label
from affetto.timeline import Judgement

if TYPE_CHECKING:
    from affetto.devices import Precision
    from affetto.engine import Engine
    from affetto.models.voices import Speakers
    from affetto.onnx import OnnxRecogniser
    from affetto.recognise import EmotionRecogniser

_UNIT_FILES = 64  # for a worker at a time: what is lost with it is done again
_UNIT_BYTES = 20_000_000  # ten minutes of WAV at 16 kHz, a quarter of an hour of FLAC
_SHARES = 4  # units a worker, at least, so that all end at about one time


@dataclass(frozen=True)
class Choice:
    """How recordings are to be recognised, as any machine can be told."""

    model: str
    device: str = "auto"
    precision: Precision = "auto"
    language: str | None = None
    channels: Channels = "mix"
    judgement: Judgement | None = None  # None: words without emotion
    speakers: Speakers | None = None

    def open(self, threads: int | None = None) -> Way:
        """Loads the model, to compute on so many threads of the processor; None takes as many as there are cores.

        Raises AffettoError as what it loads does, or where an exported model cannot do what is asked.
        """
        if self.speakers is not None:
            check_speakers(self.speakers, self.channels)
        if is_exported(self.model):
            return self._by_graphs(threads)
        import torch

        from affetto.models.decoding import DecoderChoice

        if threads is not None:
            torch.set_num_threads(threads)
        decoding = DecoderChoice(language=self.language)
        if self.judgement is None:
            from affetto.transcribe import Transcriber

            transcriber = Transcriber.from_pretrained(self.model, self.device, decoding, precision=self.precision)
            words = partial(transcriber.recognise_many, channels=self.channels)
            return Way(self, words, (), (), transcriber.fingerprint)
        from affetto.recognise import EmotionRecogniser

        found = EmotionRecogniser.from_pretrained(self.model, self.device, decoding, precision=self.precision)
        return self._emotions(found)

    def _by_graphs(self, threads: int | None) -> Way:
        """Without torch."""
        from affetto.onnx import OnnxRecogniser

        asked = {
            "words alone": self.judgement is None,
            f"device {self.device}": self.device not in {"auto", "cpu"},
            f"precision {self.precision}": self.precision != "auto",
            "a language": self.language is not None,
        }
        for what, is_asked in asked.items():
            if is_asked:
                raise ConfigError(f"{what} of an exported model", "leave that out, or name another model", self.model)
        return self._emotions(OnnxRecogniser(self.model, threads))

    def _emotions(self, found: EmotionRecogniser | OnnxRecogniser) -> Way:
        assert self.judgement is not None
        many = partial(found.recognise_many, judgement=self.judgement, channels=self.channels, speakers=self.speakers)
        return Way(self, many, found.emotions, found.dimensions, found.fingerprint)


class Way(NamedTuple):
    """How recordings are recognised, among which emotions, and which dimensions are predicted beside."""

    choice: Choice
    recognise: Callable[[Iterable[Source], Callable[[float], None] | None], Iterator[Recording | Failure]]
    emotions: Sequence[str]
    dimensions: Sequence[str]
    fingerprint: Callable[[], str]

    @property
    def divided_by(self) -> Literal["channel", "speaker"] | None:
        """What each segment has, as `Recording.divided_by`."""
        if self.choice.speakers is not None:
            return "speaker"
        return "channel" if self.choice.channels == "separate" else None

    def settings(self) -> Mapping[str, object]:
        """What results depend on beside the recording."""
        judgement, channels, speakers = self.choice.judgement, self.choice.channels, self.choice.speakers
        return {
            "model": self.fingerprint(),
            **({} if judgement is None else {"judgement": judgement.model_dump()}),
            **({} if channels == "mix" else {"channels": channels}),  # older folders have nothing of mixed ones, either
            **({} if speakers is None else {"speakers": speakers}),
        }


class Entry(NamedTuple):
    """A recording, what its results are called, and its file, if it is one."""

    source: Source
    name: PurePath
    path: Path | None


class Outcome(NamedTuple):
    """What became of a recording: which it is of all, why it failed, if it did, and its length in seconds."""

    place: int
    error: AffettoError | None = None
    duration_s: float = 0.0


def to_do(
    sources: Sequence[Source], names: Sequence[PurePath], folder: ResultFolder, *, again: bool = False
) -> tuple[list[Entry], list[AffettoError]]:
    """The recordings without a result in an open folder, or all ``again``; and what is wrong with names.

    For the names see `result_names`.
    """
    left, errors, taken = list[Entry](), list[AffettoError](), dict[PurePath, str]()
    for source, name in zip(sources, result_names(names), strict=True):
        entry = Entry(source, name, source if isinstance(source, Path) else None)
        try:
            if name in taken:
                remedy = "recognise the folder around both, or write it into another folder"
                raise OutputError(f"its result would have the name of that of {taken[name]}", remedy, label(source))
            if again or not (folder.holds(name) and folder.is_done(name, Identity.of(entry.path))):
                left.append(entry)
            taken[name] = label(source)
        except OutputError as error:
            errors.append(error)
    return left, errors


def fill(
    way: Way, entries: Sequence[Entry], folder: ResultFolder, progress: Callable[[float], None] | None = None
) -> Iterator[Outcome]:
    """Recognises recordings here, and writes their results into an open folder, in order; OSError where it cannot."""
    origins: list[Identity] = []

    def sources() -> Iterator[Source]:
        for entry in entries:
            origins.append(Identity.of(entry.path))
            yield entry.source

    for place, (entry, result) in enumerate(zip(entries, way.recognise(sources(), progress), strict=True)):
        if isinstance(result, Failure):
            yield Outcome(place, result.error)
            continue
        try:
            folder.write(entry.name, result, origins[place])
            yield Outcome(place, None, result.duration_s)
        except OutputError as error:
            yield Outcome(place, error)


class _Unit(NamedTuple):
    """What a worker is given: some recordings, which of all they are, and the folder as far as they concern it."""

    choice: Choice
    places: Sequence[int]
    entries: Sequence[Entry]
    folder: ResultFolder


def fill_by(
    engine: Engine, choice: Choice, entries: Sequence[Entry], folder: ResultFolder, progress: Callable[[float], None]
) -> Iterator[Outcome]:
    """The same by the workers of a cluster, in any order; a recording that no worker survives has failed.

    Each worker loads the model. Recordings are files, which all machines see, and so they do the open folder.
    ``progress`` is called with the seconds of sound done so far.

    Raises RunError where a machine has another model, or its workers die before they have done anything, and OSError
    where nothing can be written.
    """
    from affetto.devices import choose_device, choose_precision
    from affetto.engine import compute, workers

    if not entries:
        return
    precision = str(choose_precision(choice.precision, choose_device(choice.device))).removeprefix("torch.")
    choice = replace(choice, precision=precision)  # type: ignore[arg-type]  # on all machines that of this one
    broken: list[_Unit] = []

    def set_aside(unit: _Unit, death: RunError) -> list[Outcome]:
        broken.append(unit)
        if not done and len(broken) > those.jobs:  # none survives anything
            raise death
        return []

    def fail(unit: _Unit, death: RunError) -> list[Outcome]:
        (place,), (entry,) = unit.places, unit.entries
        return [Outcome(place, AudioError(death.problem, "recognise it alone, or leave it out", label(entry.source)))]

    done, done_s = 0, 0.0
    with workers(engine, len(entries)) as those:
        together = (_unit(choice, places, entries, folder) for places in _shares(entries, those.jobs))
        singly = (_unit(choice, [place], entries, folder) for unit in broken for place in unit.places)
        for outcomes in chain(compute(_do, together, those, set_aside), compute(_do, singly, those, fail)):
            done += len(outcomes)
            done_s += sum(each.duration_s for each in outcomes)
            progress(done_s)
            yield from outcomes
    folder.gather()


def _shares(entries: Sequence[Entry], jobs: int) -> list[list[int]]:
    """Which recordings are done by one worker at a time, of so many; the largest first, so that all end together."""
    sizes = [each.path.stat().st_size if each.path is not None and each.path.exists() else 0 for each in entries]
    most = min(_UNIT_BYTES, sum(sizes) / (_SHARES * jobs))
    shares, left = list[list[int]](), 0.0
    for place, size in enumerate(sizes):
        if not shares or len(shares[-1]) == _UNIT_FILES or size > left:
            shares.append([])
            left = most
        shares[-1].append(place)
        left -= size
    return sorted(shares, key=lambda share: -sum(sizes[place] for place in share))


def _unit(choice: Choice, places: Sequence[int], entries: Sequence[Entry], folder: ResultFolder) -> _Unit:
    own = [entries[place] for place in places]
    files = [each.path.absolute() for each in own if each.path is not None]  # a worker may stand elsewhere
    sent = [
        Entry(Deferred(label(each.source), partial(audio.stream, file, channels=choice.channels)), each.name, file)
        for each, file in zip(own, files, strict=True)
    ]
    return _Unit(choice, places, sent, folder.share([each.name for each in own], files))


def _do(unit: _Unit) -> list[Outcome]:
    """Runs in a worker."""
    way, settings = _opened(unit.choice)
    if settings != unit.folder.settings:
        remedy = "give all machines the same model and the same affetto"
        raise RunError("has another model than where it was started", remedy, platform.node())
    return [each._replace(place=unit.places[each.place]) for each in fill(way, unit.entries, unit.folder)]


@cache
def _opened(choice: Choice) -> tuple[Way, Mapping[str, object]]:
    way = choice.open()
    return way, way.settings()
