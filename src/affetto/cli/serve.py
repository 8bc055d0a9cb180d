"""``affetto serve``."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Annotated

from typer import Option

from affetto.cli.arguments import Device, Model, Precision, Threads
from affetto.cli.terminal import note
from affetto.pretrained import DEFAULT


def serve(  # noqa: PLR0913, PLR0917  # the shell's options
    host: Annotated[str, Option(help="The address to listen on; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, Option(min=0, max=65_535, help="0 takes one that is free.")] = 8000,
    token_file: Annotated[
        Path | None, Option(help="Ask clients for the token in this file.", show_default=False)
    ] = None,
    name: Annotated[
        list[str] | None, Option(metavar="NAME", help="A name the service goes by (the header Host); may be repeated.")
    ] = None,
    max_upload: Annotated[float, Option(metavar="MB", help="The largest upload.")] = 512,
    max_duration: Annotated[float, Option(metavar="SECONDS", help="The longest recording.")] = 7200,
    room: Annotated[float, Option(metavar="MB", help="For all uploads and their sound, on disk.")] = 4000,
    upload_time: Annotated[float, Option(metavar="SECONDS", help="How long an upload may take, if small.")] = 30,
    timeout: Annotated[float, Option(metavar="SECONDS", help="How long a result may take, if short.")] = 60,
    header_time: Annotated[float, Option(metavar="SECONDS", help="How long a request's head may take.")] = 10,
    queue: Annotated[int, Option(help="Recordings at a time; more are asked to come back later.")] = 32,
    live: Annotated[int, Option(min=0, help="Live streams at a time.")] = 4,
    live_time: Annotated[float, Option(metavar="SECONDS", help="How long a live stream may last.")] = 3600,
    idle_time: Annotated[float, Option(metavar="SECONDS", help="How long it may bring nothing.")] = 30,
    shutdown_time: Annotated[
        float, Option(metavar="SECONDS", help="How long to go on with what was begun, when stopped.")
    ] = 20,
    page: Annotated[bool, Option(help="A web page at /.")] = True,
    model: Model = DEFAULT,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
) -> None:
    r"""Answer over HTTP as [cyan]affetto recognise[/] does: one recogniser for all who ask.

    [cyan]POST /v1/recognise[/] takes a recording, the WebSocket [cyan]/v1/listen[/] live sound;
    [cyan]/v1/models[/], [cyan]/healthz[/], [cyan]/metrics[/] and [cyan]/openapi.json[/] describe the service; at
    [cyan]/[/] is a page for people.

    Nothing is kept after the answer. The log, lines of JSON on standard error, holds no sound, no words and no names of
    files.

    Options may also stand in the environment, as AFFETTO_PORT or AFFETTO_MAX_UPLOAD; the token itself as AFFETTO_TOKEN.
    Needs [cyan]pip install "affetto\[serve]"[/].

    [bold]Examples[/]
    [cyan]affetto serve[/]
    [cyan]curl -F file=@call.wav http://127.0.0.1:8000/v1/recognise[/]
    [cyan]affetto serve --host 0.0.0.0 --token-file /run/secrets/affetto[/]
    """
    from affetto.server.run import run_service
    from affetto.server.settings import Settings, read_token

    values = {
        "host": host,
        "port": port,
        "max_upload_mb": max_upload,
        "max_duration_s": max_duration,
        "room_mb": room,
        "upload_s": upload_time,
        "timeout_s": timeout,
        "header_s": header_time,
        "queue": queue,
        "live": live,
        "live_s": live_time,
        "idle_s": idle_time,
        "shutdown_s": shutdown_time,
        "hosts": tuple(each.lower() for each in name or ()),
        "page": page,
        "token": read_token(token_file, os.environ.get("AFFETTO_TOKEN")),
    }
    run_service(model, device, precision, Settings.parse(values, "affetto serve"), note)
    if threading.active_count() > 1:  # one still decodes or computes what nobody waits for any more
        sys.stderr.flush()
        os._exit(0)
