"""The examples for operators: nginx in front of one service or several, and a unit of systemd."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from tests.conftest import REPOSITORY
from tests.server.serving import RECOGNISE, TOKEN, Halting, eventually, metric, serving, started

from affetto.server.settings import Settings

pytestmark = pytest.mark.skipif(shutil.which("nginx") is None, reason="needs the program nginx")

EXAMPLES = REPOSITORY / "examples"
AS_IT_STANDS = {"rate=1r/m": "rate=10r/s", "burst=1 nodelay": "burst=60"}
Proxied = Callable[..., httpx.Client]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.fixture
def proxied(serve: Callable[..., httpx.Client], tmp_path: Path) -> Iterator[Proxied]:
    """Starts the service and nginx before it, without TLS; two requests are let through, and then one a minute."""

    def start(*services: httpx.Client, **changes: str) -> httpx.Client:
        ports, port = [each.base_url.port for each in services or [serve(queue=64)]], free_port()
        block = (EXAMPLES / "nginx.conf").read_text("utf-8")
        block = re.sub(r"    ssl_certificate.*\n", "", block)
        known = {
            "listen 443 ssl": f"listen 127.0.0.1:{port}",
            "server 127.0.0.1:8000 max_fails=0;": " ".join(f"server 127.0.0.1:{each} max_fails=0;" for each in ports),
            "rate=10r/s": "rate=1r/m",
            "burst=60": "burst=1 nodelay",
        }
        for old, new in {**known, **changes}.items():
            assert old in block
            block = block.replace(old, new)
        folders = "".join(
            f"{kind}_temp_path {tmp_path}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        config = f"daemon off; master_process off; pid {tmp_path}/pid; events {{}}\nhttp {{ access_log off;\n"
        (tmp_path / "nginx.conf").write_text(f"{config}{folders}{block}}}\n", encoding="utf-8")
        command = ["nginx", "-e", "stderr", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
        process = stack.enter_context(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        stack.callback(process.terminate)
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False)
        stack.enter_context(client)

        def answers() -> bool:
            try:
                return client.get("/healthz").status_code == 404
            except httpx.TransportError:
                return False

        assert eventually(answers)
        return client

    with ExitStack() as stack:
        yield start


def test_who_asks_too_often_is_answered_so_as_the_service_would(proxied: Proxied, angry: bytes) -> None:
    client = proxied()
    answers = [client.post(RECOGNISE, files={"file": ("a.flac", angry)}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].headers["content-type"] == "application/json"
    assert int(answers[2].headers["retry-after"]) > 0
    assert (answers[2].json()["code"], set(answers[2].json())) == ("busy", {"code", "problem", "remedy"})


def test_fifty_at_once_behind_one_address_are_all_answered(proxied: Proxied, angry: bytes) -> None:
    client = proxied(**AS_IT_STANDS)
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: client.post(RECOGNISE, content=angry), range(50)))
    assert Counter(answer.status_code for answer in answers) == {200: 50}


def test_an_office_behind_one_address_is_not_counted(proxied: Proxied, angry: bytes) -> None:
    client = proxied(**{"203.0.113.7/32": "127.0.0.1/32"})
    assert [client.post(RECOGNISE, content=angry).status_code for _ in range(5)] == [200] * 5


def test_an_upload_that_nginx_refuses_is_a_problem_of_the_same_shape(proxied: Proxied, angry: bytes) -> None:
    answer = proxied(**{"512m": "1k"}).post(RECOGNISE, content=angry)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_ends_interrupts_nobody(
    proxied: Proxied, tiny_model: Path, angry: bytes, sent: signal.Signals
) -> None:
    answered: list[int] = []
    with started(tiny_model) as (first, one), started(tiny_model) as (_, other):
        client = proxied(one, other, **AS_IT_STANDS)
        client.headers["Authorization"] = f"Bearer {TOKEN}"

        def ask(_: int) -> int:
            answered.append(client.post(RECOGNISE, content=angry).status_code)
            if len(answered) == 10:
                first.send_signal(sent)
            return answered[-1]

        with ThreadPoolExecutor(4) as pool:
            assert Counter(pool.map(ask, range(40))) == {200: 40}
        assert first.wait(120) == (-signal.SIGKILL if sent == signal.SIGKILL else 0)
        assert metric(other, 'affetto_requests_total{outcome="ok"}') >= 20


def test_where_one_is_full_another_answers(
    proxied: Proxied, recogniser: Halting, serve: Callable[..., httpx.Client], tiny_model: Path, angry: bytes
) -> None:
    full = serve(queue=1)
    with serving(Halting.made(tiny_model), tiny_model, Settings(queue=1)) as free, ThreadPoolExecutor(1) as pool:
        client = proxied(full, free, **AS_IT_STANDS)
        recogniser.hold()
        held = pool.submit(full.post, RECOGNISE, content=angry)
        assert eventually(lambda: recogniser.heard == [1])
        assert [client.post(RECOGNISE, content=angry).status_code for _ in range(4)] == [200] * 4
        recogniser.go_on()
        assert held.result().status_code == 200


def test_where_all_are_full_the_service_says_so(
    proxied: Proxied, recogniser: Halting, serve: Callable[..., httpx.Client], angry: bytes
) -> None:
    both = [serve(queue=1), serve(queue=1)]
    client = proxied(*both, **AS_IT_STANDS)
    with ThreadPoolExecutor(2) as pool:
        recogniser.hold()
        held = [pool.submit(each.post, RECOGNISE, content=angry) for each in both]
        assert eventually(lambda: recogniser.heard == [1, 1])
        for _ in range(3):
            answer = client.post(RECOGNISE, content=angry)
            assert (answer.status_code, answer.json()["code"]) == (429, "busy")
        recogniser.go_on()
        assert [each.result().status_code for each in held] == [200, 200]


def test_the_unit_starts_a_service_that_asks_for_its_token(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(TOKEN, encoding="utf-8")
    unit = (EXAMPLES / "affetto@.service").read_text("utf-8").replace("%d", str(tmp_path)).replace("%i", "8000")
    (stated,) = re.findall(r"^Environment=(.*)$", unit, re.MULTILINE)
    for each in stated.split():
        monkeypatch.setenv(*each.split("=", 1))
    with started(tiny_model) as (_, client):
        assert httpx.get(f"{client.base_url}/v1/models", trust_env=False).status_code == 401
        assert client.get("/v1/models", headers={"Host": "emotions.example"}).status_code == 200
        assert client.get("/v1/models", headers={"Host": "another.example"}).status_code == 400
