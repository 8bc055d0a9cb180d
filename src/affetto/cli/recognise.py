"""``affetto recognise``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from affetto.cli.arguments import Device, Inputs, Language, Model, Paths, Precision, Sure, Threads
from affetto.cli.terminal import ProgressBar, note
from affetto.errors import OutputError
from affetto.pretrained import DEFAULT

if TYPE_CHECKING:
    from affetto.audio import Channels
    from affetto.formats.folder import Identity, ResultFolder
    from affetto.recognise import EmotionRecogniser
    from affetto.recording import Recording
    from affetto.streaming import Failure, Source
    from affetto.timeline import Judgement
    from affetto.transcribe import Transcriber


class Format(StrEnum):
    """How recordings are printed or written."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    VTT = "vtt"
    SRT = "srt"
    TEXTGRID = "textgrid"
    RTTM = "rttm"


_ONE_A_FILE = {Format.VTT, Format.SRT, Format.TEXTGRID}  # two of these in one stream would be no file that can be read


def recognise(  # noqa: PLR0913, PLR0917  # the shell's options
    paths: Paths,
    formats: Annotated[
        list[Format] | None,
        typer.Option(
            "--format",
            help="How to give the results; with --output-dir, repeat it for several.",
            show_default="table; json into a folder",
        ),
    ] = None,
    output_dir: Annotated[
        Path | None, typer.Option(help="Write a file a recording and format into this folder.", show_default=False)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Do again what is in the folder already.")] = False,
    sure: Sure = 0.5,
    smooth: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="How far neighbouring segments count; 0: not at all.")
    ] = 0.0,
    model: Model = DEFAULT,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
    language: Language = None,
    channels: Annotated[
        Literal["mix", "separate"],
        typer.Option(help="Mixed, or each a voice of its own, as those of a call's two parties."),
    ] = "mix",
    words_only: Annotated[
        bool, typer.Option("--words-only", help="Words without emotion, from a model that needs no emotion head.")
    ] = False,
) -> None:
    """Recognise the emotion in recordings, how sure it is, when, and what was said.

    Recordings of any length, any number of them; folders are searched with the folders in them. The result is one for
    each stretch of speech of at most 15 s, cut at pauses, and one for the whole; where nobody speaks, it is
    [bold]no speech[/], and where no emotion is probable enough, [bold]not sure[/].

    [bold]table[/] is for people, [bold]json[/], [bold]jsonl[/] (a line a recording as soon as it is done) and
    [bold]csv[/] (a row a segment) for programs, [bold]vtt[/] and [bold]srt[/] are subtitles, [bold]textgrid[/] is for
    Praat and ELAN, [bold]rttm[/] for diarisation tools.

    [bold]Examples[/]
    [cyan]affetto recognise call.wav[/]
    [cyan]affetto recognise interviews/ --format csv > emotions.csv[/]
    [cyan]affetto recognise interviews/ --output-dir results --format json --format vtt[/]
    [cyan]affetto recognise film.mkv voice.m4a[/]  (with the program ffmpeg)
    [cyan]affetto recognise call.wav --channels separate[/]
    [cyan]affetto recognise film.wav --words-only --model openai/whisper-tiny.en --format srt[/]

    Stopped (Ctrl-C) and started again, a run into a folder goes on where it was.

    Exit codes: 0 all went well, also where nobody speaks; 1 some inputs failed, each with a line on standard error at
    the end; 2 nothing could start; 130 interrupted.
    """
    wanted = _checked(formats, output_dir, force=force)
    from affetto.models.decoding import DecoderChoice
    from affetto.recognise import EmotionRecogniser
    from affetto.timeline import Judgement
    from affetto.transcribe import Transcriber

    decoding = DecoderChoice(language=language)
    if words_only:
        way = _words(Transcriber.from_pretrained(model, device, decoding, precision=precision), channels)
    else:
        recogniser = EmotionRecogniser.from_pretrained(model, device, decoding, precision=precision)
        way = _emotions(recogniser, Judgement(sure=sure, smooth_s=smooth), channels)
    with ProgressBar("recognising") as bar:
        inputs = Inputs(paths, bar)
        if output_dir is None:
            _print(way, inputs, wanted[0])
        else:
            from affetto.formats.folder import ResultFolder

            _fill(way, inputs, ResultFolder(output_dir, wanted, way.settings), force)
    inputs.end()


class _Way(NamedTuple):
    """How recordings are recognised, among which emotions, and what results depend on beside the recording."""

    recognise: Callable[[Iterable[Source], Callable[[float], None]], Iterator[Recording | Failure]]
    emotions: Sequence[str]
    channels: Channels
    made_with: Callable[[], Mapping[str, object]]

    @property
    def settings(self) -> Mapping[str, object]:
        # Of mixed channels nothing is written down: older folders have nothing of them, either.
        return {**self.made_with(), **({} if self.channels == "mix" else {"channels": self.channels})}


def _emotions(recogniser: EmotionRecogniser, judgement: Judgement, channels: Channels) -> _Way:
    recognise = partial(recogniser.recognise_many, judgement=judgement, channels=channels)
    return _Way(
        recognise,
        recogniser.emotions,
        channels,
        lambda: {"model": recogniser.fingerprint(), "judgement": judgement.model_dump()},
    )


def _words(transcriber: Transcriber, channels: Channels) -> _Way:
    recognise = partial(transcriber.recognise_many, channels=channels)
    return _Way(recognise, (), channels, lambda: {"model": transcriber.fingerprint()})


def _checked(formats: list[Format] | None, output_dir: Path | None, *, force: bool) -> list[Format]:
    wanted = formats or [Format.TABLE if output_dir is None else Format.JSON]
    if output_dir is not None and Format.TABLE in wanted:
        raise OutputError("a table is for the terminal", "choose json, csv or another format", "--output-dir")
    if output_dir is None and len(wanted) > 1:
        raise OutputError("several formats at once", "name a folder for them with --output-dir", "--format")
    if output_dir is None and force:
        raise OutputError("nothing is there already", "leave it out, or name a folder with --output-dir", "--force")
    return wanted


def _print(way: _Way, inputs: Inputs, format_: Format) -> None:
    from affetto.cli.recordings import print_recordings, show_table
    from affetto.streaming import label

    if format_ in _ONE_A_FILE and len(inputs.sources) > 1:
        raise OutputError(
            f"several recordings cannot be one {format_} file", "name a folder for them with --output-dir", "--format"
        )
    results = inputs.successes(way.recognise(inputs.sources, inputs.progress))
    if format_ is Format.TABLE:
        show_table(results)
    else:
        sources = [label(each) for each in inputs.sources]
        print_recordings(format_, results, sources, way.emotions, separate=way.channels == "separate")


def _fill(way: _Way, inputs: Inputs, folder: ResultFolder, force: bool) -> None:
    from affetto.formats.folder import Identity, result_names
    from affetto.streaming import Failure, label

    folder.open(again=force)
    left: list[tuple[Source, PurePath, Identity]] = []
    taken: dict[PurePath, str] = {}
    there = written = 0
    for source, name in zip(inputs.sources, result_names(inputs.names), strict=True):
        origin = Identity.of(source if isinstance(source, Path) else None)
        try:
            if name in taken:
                remedy = "recognise the folder around both, or write it into another folder"
                raise OutputError(f"its result would have the name of that of {taken[name]}", remedy, label(source))
            if force or not folder.is_done(name, origin):
                left.append((source, name, origin))
            else:
                there += 1
            taken[name] = label(source)
        except OutputError as error:
            inputs.errors.append(error)
    if there:
        note(f"{there:,} of {len(inputs.sources):,} are in {folder.path} already; --force does them again")
    inputs.sources = [source for source, _, _ in left]
    try:
        results = way.recognise(inputs.sources, inputs.progress)
        for (_, name, origin), result in zip(left, results, strict=True):
            if isinstance(result, Failure):
                inputs.errors.append(result.error)
                continue
            try:
                folder.write(name, result, origin)
                written += 1
            except OutputError as error:
                inputs.errors.append(error)
    except KeyboardInterrupt:
        inputs.complain()
        progress = f"{written:,} of {len(left):,} written to {folder.path}"
        note(f"interrupted with {progress}; the same command goes on from there")
        raise typer.Exit(130) from None
    inputs.bar.hide()
    note(f"{written:,} written to {folder.path}")
