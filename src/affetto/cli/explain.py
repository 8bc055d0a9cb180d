"""``affetto explain``."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer
from typer import Argument, Option

from affetto.cli.arguments import Device, Model, Sure, Threads, promised_s, standard_input
from affetto.cli.terminal import ProgressBar, complain, note
from affetto.errors import AudioError, OutputError
from affetto.pretrained import DEFAULT

if TYPE_CHECKING:
    from affetto.streaming import Source

Form = Literal["png", "svg", "html"]


def explain(  # noqa: PLR0913, PLR0917  # the shell's options
    file: Annotated[str, Argument(metavar="FILE", help="A sound file, or [cyan]-[/] for standard input.")],
    output: Annotated[
        Path | None,
        Option(metavar="PATH", help="The file to write (.png, .svg or .html), or its folder.", show_default="here"),
    ] = None,
    form: Annotated[
        Form | None, Option("--format", help="What to write.", show_default="by PATH's ending, else png")
    ] = None,
    passages: Annotated[int, Option(min=1, max=12, help="How many stretches of speech to look into, at most.")] = 3,
    at: Annotated[
        list[float] | None,
        Option(metavar="SECONDS", min=0.0, help="Look into the stretch at this time; may be repeated."),
    ] = None,
    narrow: Annotated[bool, Option("--narrow", hidden=True, help="Has no effect any more.")] = False,
    sure: Sure = 0.5,
    model: Model = DEFAULT,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    r"""Show which emotion is predicted for a recording, and why: a picture to look at, or a page to read.

    For a stretch of speech: the sound, its spectrogram, the words, pitch and loudness, emotion over time, and the
    moments that decided, framed; then which units of the recogniser's layer and which features of the voice they
    decided by. A recording with several stretches begins with an outline of the whole, and looks into those that tell
    most: of each emotion the surest, then the surest of the others. [cyan]--at[/] chooses others.

    [bold]html[/] is a page that needs nothing else; [bold]png[/] and [bold]svg[/] are one picture.
    Needs [cyan]pip install "affetto\[report]"[/].

    [bold]Examples[/]
    [cyan]affetto explain call.wav[/]
    [cyan]affetto explain interview.mp3 --output interview.html --passages 6[/]
    [cyan]affetto explain interview.mp3 --at 61 --at 240.5 --format svg[/]

    Exit codes: 0 all went well, also where nobody speaks; 1 the recording cannot be read; 2 nothing could start, or
    nothing can be written; 130 interrupted.
    """
    if narrow:
        note("--narrow has no effect any more: every picture is drawn once")
    path, wanted = _place(file, output, form)
    from affetto.explain import explain as look_into
    from affetto.explain import write
    from affetto.recognise import EmotionRecogniser
    from affetto.timeline import Judgement

    recogniser = EmotionRecogniser.from_pretrained(model, device, precision="float32")
    with ProgressBar("recognising") as bar, _opened(file) as source:
        total_s = promised_s(source) if bar.wanted else 0.0
        try:
            found = look_into(
                recogniser,
                source,
                passages=passages,
                at_s=at or (),
                judgement=Judgement(sure=sure),
                progress=lambda done_s: bar(done_s, max(total_s, done_s)),
            )
        except AudioError as error:
            bar.hide()
            complain(error)
            raise typer.Exit(1) from error
    write(found, path, wanted)
    typer.echo(str(path))


def _place(file: str, output: Path | None, form: Form | None) -> tuple[Path, Form]:
    """The file to write, and as what."""
    known = {f".{each}": each for each in get_args(Form)}
    name = f"{'standard-input' if file == '-' else PurePath(file).stem}-explained"
    if output is None or output.is_dir() or (not output.suffix and output.name != ""):
        wanted = form or "png"
        return (output or Path()) / f"{name}.{wanted}", wanted
    ending = known.get(output.suffix.lower())
    if ending is None:
        raise OutputError(f"no explanation can be a {output.suffix}", "name a .png, .svg or .html file", output)
    if form not in (None, ending):
        raise OutputError(f"is no {form}", f"leave --format out, or name a .{form} file", output)
    return output, ending


@contextmanager
def _opened(file: str) -> Iterator[Source]:
    """The recording, which is read twice: a pipe goes to a temporary file first."""
    if file != "-":
        yield Path(file)
        return
    piped = standard_input("give a file, or pipe one: affetto explain - < call.wav")
    from affetto import audio
    from affetto.streaming import Deferred

    with tempfile.TemporaryFile() as spool:
        shutil.copyfileobj(piped, spool)
        yield Deferred("standard input", partial(audio.stream, spool, where="standard input"))
