"""``affetto listen``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from affetto.cli.arguments import Device, Model, Sure, Threads, standard_input
from affetto.cli.terminal import console, extra, note
from affetto.errors import AudioError
from affetto.pretrained import DEFAULT

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")


class Encoding(StrEnum):
    """How samples without a header are written, by ffmpeg's names."""

    S16LE = "s16le"
    S32LE = "s32le"
    F32LE = "f32le"


class LineFormat(StrEnum):
    """How a stretch of speech is printed."""

    TEXT = "text"
    JSONL = "jsonl"


def listen(  # noqa: PLR0913, PLR0917  # the shell's options
    source: Annotated[
        str | None,
        typer.Argument(metavar="[-]", help="[cyan]-[/] for samples on standard input.", show_default="the microphone"),
    ] = None,
    rate: Annotated[int, typer.Option(metavar="HZ", help="Of the samples on standard input.")] = 16_000,
    encoding: Annotated[Encoding, typer.Option(help="Of the samples on standard input, one channel.")] = Encoding.S16LE,
    format_: Annotated[LineFormat, typer.Option("--format", help="How to print.")] = LineFormat.TEXT,
    sure: Sure = 0.5,
    model: Model = DEFAULT,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    r"""Hear emotion and words while somebody speaks: a line for each stretch of speech, soon after it has ended.

    A pause of 0.4 s ends a stretch; measured on two busy cores, its line came 0.6 s after the speech (median).
    The microphone needs [cyan]pip install "affetto\[live]"[/]; Ctrl-C ends it.

    [bold]Examples[/]
    [cyan]affetto listen[/]
    [cyan]ffmpeg -i rtsp://camera -f s16le -ac 1 -ar 16000 - | affetto listen -[/]
    [cyan]arecord -t raw -f S16_LE -r 16000 | affetto listen - --format jsonl[/]
    """
    if source not in (None, "-"):
        raise AudioError("a file does not speak live", f"affetto recognise {source}", source)
    with extra("live", "sounddevice"):
        from affetto.recognise import EmotionRecogniser
        from affetto.timeline import Judgement

        recogniser = EmotionRecogniser.from_pretrained(model, device)
        blocks = _until_interrupted(_blocks(source, encoding, rate))
        out = console()
        if sys.stderr.isatty():
            note("listening; Ctrl-C ends it")
        for segment in recogniser.follow(blocks, Judgement(sure=sure)):
            if format_ is LineFormat.JSONL:
                typer.echo(json.dumps(segment.as_dict()))
            else:
                from affetto.cli.recordings import line

                out.print(line(segment, ascii_only=out.options.ascii_only))
            sys.stdout.flush()


def _blocks(source: str | None, encoding: Encoding, rate: int) -> Iterator[Tensor]:
    from affetto.streaming.live import microphone, raw_blocks

    if source is None:
        return microphone()
    piped = standard_input("pipe samples in, or leave - out for the microphone")
    return raw_blocks(piped, encoding, rate)


def _until_interrupted(blocks: Iterable[T]) -> Iterator[T]:
    """Ctrl-C ends the stream, so that what is being said is still heard."""
    try:
        yield from blocks
    except KeyboardInterrupt:
        return
