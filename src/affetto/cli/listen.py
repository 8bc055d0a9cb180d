"""``affetto listen``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer import Argument, Option

from affetto.cli.arguments import Device, Model, Precision, Sure, Threads, standard_input
from affetto.cli.terminal import console, note
from affetto.errors import AudioError
from affetto.pretrained import DEFAULT

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from torch import Tensor

    from affetto.recording import Segment


def listen(  # noqa: PLR0913, PLR0917  # the shell's options
    source: Annotated[
        str | None,
        Argument(metavar="[-]", help="[cyan]-[/] for samples on standard input.", show_default="the microphone"),
    ] = None,
    rate: Annotated[int, Option(metavar="HZ", help="Of the samples on standard input.")] = 16_000,
    encoding: Annotated[
        Literal["s16le", "s32le", "f32le"], Option(help="Of the samples on standard input, one channel.")
    ] = "s16le",
    format_: Annotated[Literal["text", "jsonl"], Option("--format", help="How to print.")] = "text",
    partial: Annotated[
        bool | None,
        Option(
            "--partial/--no-partial",
            help="What is being said, too, while it is said; as jsonl with [cyan]final: false[/].",
            show_default="in a terminal",
        ),
    ] = None,
    sure: Sure = 0.5,
    model: Model = DEFAULT,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
) -> None:
    r"""Recognise emotion and words while somebody speaks: a line for each stretch of speech, soon after it has ended.

    A pause of 0.4 s ends a stretch; measured on two busy cores, its line came 0.6 s after the speech (median).
    The microphone needs [cyan]pip install "affetto\[live]"[/]; Ctrl-C ends it.

    [bold]Examples[/]
    [cyan]affetto listen[/]
    [cyan]ffmpeg -i rtsp://camera -f s16le -ac 1 -ar 16000 - | affetto listen -[/]
    [cyan]arecord -t raw -f S16_LE -r 16000 | affetto listen - --format jsonl[/]
    """
    if source not in (None, "-"):
        raise AudioError("a file does not speak live", f"affetto recognise {source}", source)
    from affetto.recognise import EmotionRecogniser
    from affetto.timeline import Judgement

    recogniser = EmotionRecogniser.from_pretrained(model, device, precision=precision)
    if sys.stderr.isatty():
        note("listening; Ctrl-C ends it")
    printer = _Printer(console(), format_, partial=partial)
    with printer.live or nullcontext():
        for segment in recogniser.follow(_blocks(source, encoding, rate), Judgement(sure=sure), printer.partial):
            printer.final(segment)


class _Printer:
    """Prints segments, and what is being said, until it is final."""

    def __init__(self, out: Console, format_: Literal["text", "jsonl"], *, partial: bool | None) -> None:
        from rich.live import Live

        self._out = out
        self._as_json = format_ == "jsonl"
        in_place = out.is_terminal and not self._as_json and partial is not False
        self.live = Live(console=out, transient=True, auto_refresh=False) if in_place else None
        self.partial = self._partial if in_place or (partial and self._as_json) else None

    def final(self, segment: Segment) -> None:
        if self.live is not None:
            self.live.update("", refresh=True)
        if self._as_json:
            typer.echo(json.dumps(segment.as_dict()))
        else:
            self._out.print(self._line(segment))
        sys.stdout.flush()

    def _partial(self, segment: Segment) -> None:
        from rich.styled import Styled

        if self.live is not None:
            self.live.update(Styled(self._line(segment), "dim"), refresh=True)
        else:
            typer.echo(json.dumps({**segment.as_dict(), "final": False}))
            sys.stdout.flush()

    def _line(self, segment: Segment) -> RenderableType:
        from affetto.cli.recordings import line

        return line(segment, width=self._out.width, ascii_only=self._out.options.ascii_only)


def _blocks(source: str | None, encoding: str, rate: int) -> Iterator[Tensor]:
    """Ctrl-C ends the stream, so that what is being said is still recognised."""
    from affetto.streaming.live import microphone, raw_blocks

    with suppress(KeyboardInterrupt):
        if source is None:
            yield from microphone()
        else:
            piped = standard_input("pipe samples in, or leave - out for the microphone")
            yield from raw_blocks(piped, encoding, rate)
