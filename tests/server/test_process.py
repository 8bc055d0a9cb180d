"""`affetto serve` as a process: starting, stopping, being killed."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.conftest import REPOSITORY
from tests.server.serving import DEMO, RECOGNISE

from affetto.cli import main
from affetto.cli.serve import serve
from affetto.errors import ServiceError
from affetto.server.problems import KINDS
from affetto.server.settings import Settings, read_token

TOKEN = "a token of many letters"


@contextmanager
def started(model: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    command = [sys.executable, "-m", "affetto", "serve", "--port", "0", "--model", str(model), *options]
    environment = {**os.environ, "AFFETTO_TOKEN": TOKEN}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        try:
            first = process.stderr.readline()
            assert "listening on http://127.0.0.1:" in first
            address = first.split()[3]
            headers = {"Authorization": f"Bearer {TOKEN}"}
            with httpx.Client(base_url=address, headers=headers, timeout=30, trust_env=False) as client:
                yield process, client
        finally:
            process.kill()


def test_it_answers_and_stops_in_good_order(tiny_model: Path) -> None:
    with started(tiny_model) as (process, client):
        assert httpx.get(f"{client.base_url}/v1/models", trust_env=False).status_code == 401
        assert client.post(RECOGNISE, content=(DEMO / "sad.flac").read_bytes()).status_code == 200

        def slow_body() -> Iterator[bytes]:
            whole = (DEMO / "sad.flac").read_bytes()
            yield whole[:1000]
            process.send_signal(signal.SIGTERM)  # while the upload goes on
            yield whole[1000:]

        assert client.post(RECOGNISE, content=slow_body()).status_code == 200
        assert process.wait(20) == 0
        assert process.stderr is not None
        log = [json.loads(line) for line in process.stderr.read().splitlines()]
    assert [line["outcome"] for line in log] == ["unauthorised", "ok", "ok"]


@pytest.mark.slow
def test_killed_and_started_again(tiny_model: Path) -> None:
    with started(tiny_model) as (process, client):
        port = str(client.base_url.port)
        process.kill()
        process.wait(20)
        with pytest.raises(httpx.TransportError):
            client.get("/healthz")
    with started(tiny_model, "--port", port) as (_, again):
        assert str(again.base_url.port) == port
        assert again.post(RECOGNISE, content=(DEMO / "sad.flac").read_bytes()).status_code == 200


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--host", "203.0.113.1"], "cannot listen there"),
        (["--token-file", "missing"], "the token cannot be read"),
        (["--queue", "0"], "queue: Input should be greater"),
        (["--timeout", "nan"], "timeout_s"),
    ],
)
def test_what_cannot_start_is_2(capsys: pytest.CaptureFixture[str], arguments: list[str], problem: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve", *arguments])
    assert ended.value.code == 2
    assert problem in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("token", ["short", "", "many letters, but ä"])
def test_bad_tokens(tmp_path: Path, token: str) -> None:
    path = tmp_path / "token"
    path.write_text(token, encoding="utf-8")
    with pytest.raises(ServiceError, match="not a token"):
        read_token(path, None)


def test_the_options_are_the_settings_and_are_documented() -> None:
    options = {name: each.default for name, each in inspect.signature(serve).parameters.items()}
    settings = Settings().model_dump()
    shared = ("host", "port", "queue", "live")
    renamed = {"max_upload": "max_upload_mb", "max_duration": "max_duration_s", "upload_time": "upload_s"}
    renamed |= {"timeout": "timeout_s", "header_time": "header_s", "shutdown_time": "shutdown_s"}
    renamed |= {"live_time": "live_s", "idle_time": "idle_s"}
    assert {name: options[name] for name in (*shared, *renamed)} == {
        name: settings[renamed.get(name, name)] for name in (*shared, *renamed)
    }
    text = (REPOSITORY / "docs" / "serve.md").read_text(encoding="utf-8")
    assert [name for name in options.keys() - {"model", "device"} if f"`--{name.replace('_', '-')}`" not in text] == []
    assert [code for code in KINDS if f"`{code}`" not in text] == []


@pytest.mark.parametrize("module", ["fastapi", "uvicorn", "prometheus_client", "websockets"])
def test_without_the_extra_it_says_so(
    module: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith(("affetto.server", "uvicorn.protocols.websockets"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SystemExit) as ended:
        main(["serve"])
    assert ended.value.code == 2
    assert 'pip install "affetto[serve]"' in capsys.readouterr().err
    with pytest.raises(SystemExit) as helped:
        main(["serve", "--help"])
    assert helped.value.code == 0
