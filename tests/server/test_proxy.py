"""The nginx block of the docs, run by nginx in front of a service."""

from __future__ import annotations

import re
import shutil
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
from tests.server.serving import RECOGNISE, eventually

pytestmark = pytest.mark.skipif(shutil.which("nginx") is None, reason="needs the program nginx")

Proxied = Callable[..., httpx.Client]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.fixture
def proxied(serve: Callable[..., httpx.Client], tmp_path: Path) -> Iterator[Proxied]:
    """Starts the service and nginx before it, without TLS; two requests are let through, and then one a minute."""

    def start(**changes: str) -> httpx.Client:
        service, port = serve(queue=64), free_port()
        (block,) = re.findall(r"```nginx\n(.*?)```", (REPOSITORY / "docs" / "serve.md").read_text("utf-8"), re.DOTALL)
        block = re.sub(r"    ssl_certificate.*\n", "", block)
        known = {
            "listen 443 ssl": f"listen 127.0.0.1:{port}",
            "127.0.0.1:8000": f"127.0.0.1:{service.base_url.port}",
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


def test_who_asks_too_often_is_told_so_as_the_service_would(proxied: Proxied, angry: bytes) -> None:
    client = proxied()
    answers = [client.post(RECOGNISE, files={"file": ("a.flac", angry)}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].headers["content-type"] == "application/json"
    assert int(answers[2].headers["retry-after"]) > 0
    assert (answers[2].json()["code"], set(answers[2].json())) == ("busy", {"code", "problem", "remedy"})


def test_fifty_at_once_behind_one_address_are_all_answered(proxied: Proxied, angry: bytes) -> None:
    client = proxied(**{"rate=1r/m": "rate=10r/s", "burst=1 nodelay": "burst=60"})  # as it stands
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: client.post(RECOGNISE, content=angry), range(50)))
    assert Counter(answer.status_code for answer in answers) == {200: 50}


def test_an_office_behind_one_address_is_not_counted(proxied: Proxied, angry: bytes) -> None:
    client = proxied(**{"203.0.113.7/32": "127.0.0.1/32"})
    assert [client.post(RECOGNISE, content=angry).status_code for _ in range(5)] == [200] * 5


def test_an_upload_that_nginx_refuses_is_a_problem_of_the_same_shape(proxied: Proxied, angry: bytes) -> None:
    answer = proxied(**{"512m": "1k"}).post(RECOGNISE, content=angry)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
