"""``affetto recognise``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer import Option

from affetto.cli.arguments import Device, Inputs, Language, Model, Paths, Precision, Sure, ThreadCount
from affetto.cli.terminal import ProgressBar, note
from affetto.errors import AffettoError, AudioError, ConfigError, OutputError
from affetto.pretrained import DEFAULT

if TYPE_CHECKING:
    from affetto.collection import Way
    from affetto.engine import Engine
    from affetto.formats.folder import ResultFolder
    from affetto.models.voices import Speakers


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

Formats = Annotated[
    list[Format] | None,
    Option(
        "--format",
        help="How to give the results; with --output-dir, repeat it for several.",
        show_default="table; json into a folder",
    ),
]
Folder = Annotated[
    Path | None, Option(help="Write a file a recording and format into this folder.", show_default=False)
]
Force = Annotated[bool, Option("--force", help="Do again what is in the folder already.")]
Smooth = Annotated[
    float, Option(min=0.0, metavar="SECONDS", help="How far neighbouring segments count; 0: not at all.")
]
Channels = Annotated[
    Literal["mix", "separate"], Option(help="Mixed, or each a voice of its own, as those of a call's two parties.")
]
SpeakersText = Annotated[
    str | None, Option(metavar="N|auto", help="Tell apart who speaks: so many, or find out.", show_default="no")
]
Where = Annotated[
    Literal["local", "ray"],
    Option(help="This process, or a Ray cluster (the one of RAY_ADDRESS, else one here) for --output-dir."),
]
WordsOnly = Annotated[
    bool, Option("--words-only", help="Words without emotion, from a model that needs no emotion head.")
]


def recognise(  # noqa: PLR0913, PLR0917  # the shell's options
    paths: Paths,
    formats: Formats = None,
    output_dir: Folder = None,
    force: Force = False,
    sure: Sure = 0.5,
    smooth: Smooth = 0.0,
    model: Model = DEFAULT,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: ThreadCount = None,
    language: Language = None,
    channels: Channels = "mix",
    speakers: SpeakersText = None,
    engine: Where = "local",
    words_only: WordsOnly = False,
) -> None:
    r"""Recognise the emotion in recordings, how sure it is, when, and what was said.

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
    [cyan]affetto recognise meeting.wav --speakers auto[/]  ([cyan]pip install "affetto\[speakers]"[/])
    [cyan]affetto recognise film.wav --words-only --model openai/whisper-tiny.en --format srt[/]
    [cyan]affetto recognise call.wav --model tiny-onnx[/]  (a folder of [cyan]affetto model export[/]: without torch)

    Stopped (Ctrl-C) and started again, a run into a folder goes on where it was. With [cyan]--engine ray[/] the
    machines of a cluster, or the cores of this one, share the recordings ([cyan]pip install "affetto\[ray]"[/]).

    Exit codes: 0 all went well, also where nobody speaks; 1 some inputs failed, each with a line on standard error at
    the end; 2 nothing could start; 130 interrupted.
    """
    wanted = _checked(formats, output_dir, force=force)
    number = _number(speakers, words_only=words_only)
    cluster = _cluster(paths, output_dir, model, device) if engine == "ray" else None
    from affetto.collection import Choice
    from affetto.timeline import Judgement

    judgement = None if words_only else Judgement(sure=sure, smooth_s=smooth)
    way = Choice(model, device, precision, language, channels, judgement, number).open(threads)
    with ProgressBar("recognising") as bar:
        inputs = Inputs(paths, bar)
        if output_dir is None:
            _print(way, inputs, wanted[0])
        else:
            from affetto.formats.folder import ResultFolder

            _fill(way, inputs, ResultFolder(output_dir, wanted, way.settings()), cluster, again=force)
    inputs.end()


def _checked(formats: list[Format] | None, output_dir: Path | None, *, force: bool) -> list[Format]:
    wanted = formats or [Format.TABLE if output_dir is None else Format.JSON]
    if output_dir is not None and Format.TABLE in wanted:
        raise OutputError("a table is for the terminal", "choose json, csv or another format", "--output-dir")
    if output_dir is None and len(wanted) > 1:
        raise OutputError("several formats at once", "name a folder for them with --output-dir", "--format")
    if output_dir is None and force:
        raise OutputError("nothing is there already", "leave it out, or name a folder with --output-dir", "--force")
    return wanted


def _number(speakers: str | None, *, words_only: bool) -> Speakers | None:
    if speakers is None:
        return None
    if words_only:
        raise ConfigError("speakers of words alone", "leave out --words-only", "--speakers")
    if speakers == "auto":
        return "auto"
    if not speakers.isdecimal():
        raise ConfigError(f"{speakers!r} is no number of speakers", "give one from 1 on, or auto", "--speakers")
    return int(speakers)


def _cluster(paths: list[str], output_dir: Path | None, model: str, device: str) -> Engine:
    """A Ray cluster, if it can share this work."""
    from affetto.onnx.description import is_exported

    if output_dir is None:
        raise OutputError("workers write files", "name a folder for them with --output-dir", "--engine")
    if "-" in paths:
        raise AudioError("workers read files", "write it into one that all their machines see", "-")
    if is_exported(model):
        raise ConfigError("workers compute with torch", "leave out --engine, or name another model", model)
    from affetto.engine import Engine

    cluster = Engine(kind="ray", device=device)
    cluster.check()
    return cluster


def _print(way: Way, inputs: Inputs, format_: Format) -> None:
    from affetto.cli.recordings import print_recordings, show_table
    from affetto.formats.tables import csv_header
    from affetto.streaming import label

    if format_ in _ONE_A_FILE and len(inputs.sources) > 1:
        problem = f"several recordings cannot be one {format_} file"
        raise OutputError(problem, "name a folder for them with --output-dir", "--format")
    results = inputs.successes(way.recognise(inputs.sources, inputs.progress))
    if format_ is Format.TABLE:
        show_table(results)
    else:
        sources = [label(each) for each in inputs.sources]
        print_recordings(format_, results, sources, csv_header(way.emotions, way.divided_by, way.dimensions))


def _fill(way: Way, inputs: Inputs, folder: ResultFolder, cluster: Engine | None, *, again: bool) -> None:
    from affetto.collection import fill, fill_by, to_do

    folder.open(again=again)
    left, errors = to_do(inputs.sources, inputs.names, folder, again=again)
    if there := len(inputs.sources) - len(left) - len(errors):
        note(f"{there:,} of {len(inputs.sources):,} are in {folder.path} already; --force does them again")
    inputs.errors += errors
    inputs.sources = [each.source for each in left]
    if cluster is None:
        outcomes = fill(way, left, folder, inputs.progress)
    else:
        outcomes = fill_by(cluster, way.choice, left, folder, inputs.progress)
    written, failed, interrupted = 0, dict[int, AffettoError](), False
    try:
        for place, error, _ in outcomes:
            if error is None:
                written += 1
            else:
                failed[place] = error
    except KeyboardInterrupt:
        interrupted = True
    inputs.errors += [failed[place] for place in sorted(failed)]
    if interrupted:
        inputs.complain()
        at_least = "at least " if cluster is not None else ""  # workers tell of several at a time
        progress = f"{at_least}{written:,} of {len(left):,} written to {folder.path}"
        note(f"interrupted with {progress}; the same command goes on from there")
        raise typer.Exit(130)
    inputs.bar.hide()
    note(f"{written:,} written to {folder.path}")
