"""``affetto recognise``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from affetto.cli.arguments import Device, Inputs, Model, Paths, Smooth, Sure
from affetto.cli.terminal import ProgressBar, note
from affetto.errors import OutputError
from affetto.pretrained import DEFAULT

if TYPE_CHECKING:
    from affetto.formats.folder import ResultFolder
    from affetto.recognise import EmotionRecogniser
    from affetto.timeline import Judgement


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


_ONE_A_FILE = {Format.VTT, Format.SRT, Format.TEXTGRID}
"""Of these, two in one stream would be no file that can be read."""


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
    smooth: Smooth = 0.0,
    model: Model = DEFAULT,
    device: Device = "auto",
) -> None:
    """Hear the emotion in recordings, how sure it is, when, and what was said.

    Recordings of any length, any number of them; folders are searched with the folders in them.
    What is told of are stretches of speech of at most 15 s, cut at pauses; where nobody speaks, the result is
    [bold]no speech[/], and where no emotion is probable enough, [bold]not sure[/].

    [bold]table[/] is for people, [bold]json[/], [bold]jsonl[/] (a line a recording as soon as it is done) and
    [bold]csv[/] (a row a segment) for programs, [bold]vtt[/] and [bold]srt[/] are subtitles, [bold]textgrid[/] is for
    Praat and ELAN, [bold]rttm[/] for diarisation tools.

    [bold]Examples[/]
    [cyan]affetto recognise call.wav[/]
    [cyan]affetto recognise interviews/ --format csv > emotions.csv[/]
    [cyan]affetto recognise interviews/ --output-dir results --format json --format vtt[/]
    [cyan]affetto recognise film.mkv voice.m4a[/]  (with the program ffmpeg)

    Stopped (Ctrl-C) and started again, a run into a folder goes on where it was.

    Exit codes: 0 all went well, also where nobody speaks; 1 some inputs failed, each with a line on standard error at
    the end; 2 nothing could start; 130 interrupted.
    """
    wanted = _checked(formats, output_dir, force=force)
    from affetto.recognise import EmotionRecogniser
    from affetto.timeline import Judgement

    judgement = Judgement(sure=sure, smooth_s=smooth)
    recogniser = EmotionRecogniser.from_pretrained(model, device)
    with ProgressBar("hearing") as bar:
        inputs = Inputs(paths, bar)
        if output_dir is None:
            _print(recogniser, inputs, judgement, wanted[0])
        else:
            from affetto.formats.folder import ResultFolder

            settings = {"model": recogniser.fingerprint(), "judgement": judgement.model_dump()}
            _fill(recogniser, inputs, judgement, ResultFolder(output_dir, wanted, settings), force)
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


def _print(recogniser: EmotionRecogniser, inputs: Inputs, judgement: Judgement, format_: Format) -> None:
    from affetto.cli.recordings import print_recordings, show_table
    from affetto.streaming import label

    if format_ in _ONE_A_FILE and len(inputs.sources) > 1:
        raise OutputError(
            f"several recordings cannot be one {format_} file", "name a folder for them with --output-dir", "--format"
        )
    results = inputs.successes(recogniser.recognise_many(inputs.sources, inputs.progress, judgement))
    if format_ is Format.TABLE:
        show_table(results)
    else:
        print_recordings(format_, results, recogniser.emotions, [label(each) for each in inputs.sources])


def _fill(
    recogniser: EmotionRecogniser, inputs: Inputs, judgement: Judgement, folder: ResultFolder, force: bool
) -> None:
    from affetto.formats.folder import Identity, result_names
    from affetto.streaming import Failure

    folder.open(again=force)
    names = result_names(inputs.names)
    origins = [Identity.of(source if isinstance(source, Path) else None) for source in inputs.sources]
    wanted: list[bool] = []
    there = 0
    for name, origin in zip(names, origins, strict=True):
        try:
            done = not force and folder.is_done(name, origin)
        except OutputError as error:
            inputs.errors.append(error)
            wanted.append(False)
        else:
            wanted.append(not done)
            there += done
    inputs.keep(wanted)
    if there:
        note(f"{there:,} of {len(names):,} are in {folder.path} already; --force does them again")
    left = [pair for pair, keep in zip(zip(names, origins, strict=True), wanted, strict=True) if keep]
    written = 0
    try:
        results = recogniser.recognise_many(inputs.sources, inputs.progress, judgement)
        for (name, origin), result in zip(left, results, strict=True):
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
        note(
            f"interrupted with {written:,} of {len(left):,} written to {folder.path}; "
            "the same command goes on from there"
        )
        raise typer.Exit(130) from None
    inputs.bar.hide()
    note(f"{written:,} written to {folder.path}")
