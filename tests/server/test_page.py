"""The page as the service hands it out: what can be reached, what cannot, and that nothing else changes."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import pytest
from tests.server.serving import DEMO, RECOGNISE, Halting, eventually, serving

from affetto.cli import main
from affetto.errors import MissingExtraError
from affetto.formats import FORMATS
from affetto.server.answers import RecordingAnswer
from affetto.server.page import Facts, PageRoute, site
from affetto.server.settings import Settings

STATIC = sorted(path.name for path in site.STATIC.iterdir())
EXAMPLES = sorted(path.name for path in DEMO.glob("*.flac"))
TOKEN = "a token of many letters"


@pytest.fixture(scope="module")
def start(client: httpx.Client) -> str:
    """The page's HTML; Gradio is imported for it."""
    answer = client.get("/", timeout=300)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    return answer.text


def test_it_names_nothing_elsewhere(start: str) -> None:
    assert set(re.findall(r"https?://[^\s\"'<>`)]+", start)) <= {"http://www.w3.org/2000/svg"}
    assert start.count("location.origin + location.pathname") == 2  # where Gradio would say by what name it was called
    assert "page.invalid" not in start


def test_its_policy_keeps_the_browser_here(client: httpx.Client, start: str) -> None:
    policy = client.get("/").headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'"} <= set(policy)
    assert not any(re.search(r"https?:|\*", rule) for rule in policy)


def test_what_it_names_is_there(client: httpx.Client, start: str) -> None:
    paths = set(re.findall(r'(?:src|href)="\.(/[^"]+)"', start)) | {"/theme.css"}
    assert len(paths) >= 6
    answers = {path: client.get(path).status_code for path in paths}
    assert answers == dict.fromkeys(paths, 200)


@pytest.mark.parametrize("name", [*STATIC, *(f"demo/{name}" for name in EXAMPLES)])
def test_our_own_files(client: httpx.Client, name: str) -> None:
    folder = DEMO if name.startswith("demo/") else site.STATIC
    answer = client.get(f"/page/{name}")
    if name.endswith(".html"):  # it comes within the page
        assert answer.status_code == 404
        return
    assert answer.content == (folder / Path(name).name).read_bytes()
    assert answer.headers["cache-control"] == "no-cache"
    again = client.get(f"/page/{name}", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


def test_only_what_never_changes_is_kept(client: httpx.Client, start: str) -> None:
    (asset,) = set(re.findall(r'src="\.(/assets/index-[\w-]+\.js)"', start))
    assert "immutable" in client.get(asset).headers["cache-control"]
    missing = client.get("/assets/none.js")
    assert (missing.status_code, missing.headers["cache-control"]) == (404, "no-cache")
    assert client.get("/").headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    [
        "/config",
        "/info",
        "/login",
        "/monitoring",
        "/manifest.json",
        "/gradio_api/info",
        "/gradio_api/heartbeat/x",
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file/etc/passwd",
        "/gradio_api/proxy=http://example.org",
        "/gradio_api/queue/data",
        "/gradio_api/upload_progress",
        "/static/img/logo.svg",
        "/assets/../index.html",
        "/assets/..%2findex.html",
        "/assets/%2e%2e/index.html",
        "/page/site.py",
        "/page/../site.py",
        "/page/demo/README.md",
        "/page/demo/..%2fpage.py",
        "/page/",
    ],
)
def test_the_rest_of_gradio_and_of_the_disk_is_not_there(client: httpx.Client, start: str, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "path", ["gradio_api/upload", "gradio_api/queue/join", "gradio_api/run/predict", "gradio_api/vibe-edit", "login"]
)
def test_nothing_can_be_sent_to_gradio(client: httpx.Client, start: str, path: str) -> None:
    answer = client.post(f"/{path}", files={"files": ("a.wav", b"RIFF")})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", ["/", "/theme.css", "/page/page.js"])
def test_the_page_can_only_be_read(client: httpx.Client, start: str, path: str) -> None:
    answer = client.post(path, content=b"x")
    assert (answer.status_code, answer.json()["code"]) == (405, "wrong_method")
    head = client.head(path)
    assert (head.status_code, head.content) == (200, b"")


def test_what_a_client_says_is_not_in_the_page(client: httpx.Client, start: str) -> None:
    hostile = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "evil", "X-Direct-Url": "evil"}
    assert client.get("/?deep_link=../evil&view=api&__theme=evil", headers=hostile).text == start
    assert client.get("/", headers={"Host": "rebound.example"}).json()["code"] == "unknown_host"


def test_the_page_is_there_without_a_token_but_tells_nothing_of_the_model(tiny_model: Path) -> None:
    with serving(Halting.made(tiny_model), tiny_model, Settings.parse({"token": TOKEN})) as client:
        page = client.get("/", timeout=300)
        assert (page.status_code, '\\"asksToken\\": true' in page.text, TOKEN in page.text) == (200, True, False)
        assert client.get("/v1/models").status_code == 401


def test_the_page_can_be_left_out(tiny_model: Path) -> None:
    with serving(Halting.made(tiny_model), tiny_model, Settings(page=False)) as client:
        for path in ("/", "/page/page.js", "/theme.css"):
            assert client.get(path).json()["code"] == "not_found"


def test_without_gradio_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(MissingExtraError, match="--no-page"):
        PageRoute(Facts.of(Settings(), ["anger"]))


def test_without_gradio_the_shell_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny_model: Path
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--port", "0", "--model", str(tiny_model)])
    assert ended.value.code == 2
    assert "gradio is not installed" in capsys.readouterr().err


def test_making_it_asks_nobody_and_writes_nothing(tmp_path: Path) -> None:
    program = """
import asyncio, logging, socket, sys

asked = []
def refuse(*arguments, **_):
    asked.append(arguments)
    raise OSError("no network")
socket.getaddrinfo = socket.create_connection = refuse
import affetto.server.app
assert "gradio" not in sys.modules, "imported before the page was asked for"
from affetto.server.page import Facts
from affetto.server.page.site import build, index
from affetto.server.settings import Settings
html = asyncio.run(index(build(Facts.of(Settings(), ["anger"]))))
assert len(html) > 5000
assert not logging.root.handlers
print(asked)
"""
    environment = {"TMPDIR": str(tmp_path), "HOME": str(tmp_path), "PATH": "", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
    assert list(tmp_path.iterdir()) == []


def test_several_formats_are_heard_once(client: httpx.Client, angry: bytes) -> None:
    names = [("format", name) for name in FORMATS]
    texts = client.post(RECOGNISE, files={"file": ("a.flac", angry)}, params=httpx.QueryParams(names)).json()
    assert list(texts) == list(FORMATS)
    alone = {
        name: client.post(RECOGNISE, files={"file": ("a.flac", angry)}, params={"format": name}).text
        for name in FORMATS
    }
    assert {name: texts[name] for name in FORMATS if name != "json"} == {
        name: alone[name] for name in FORMATS if name != "json"
    }
    assert json.loads(texts["json"]) == json.loads(alone["json"])
    assert RecordingAnswer.parse(json.loads(texts["json"])).file == "a.flac"


def test_nothing_lies_in_the_temporary_folder(
    client: httpx.Client, start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for path in ("/", "/theme.css", "/page/page.js", *re.findall(r'src="\.(/assets/[^"]+)"', start)):
        assert client.get(path).status_code == 200
    assert list(tmp_path.iterdir()) == []


def test_the_log_tells_that_it_was_the_page(client: httpx.Client, start: str, caplog: pytest.LogCaptureFixture) -> None:
    del start
    with caplog.at_level(logging.INFO, "affetto.server"):
        client.get("/")
        client.get(f"/page/{STATIC[0]}")
        assert eventually(lambda: len(caplog.records) >= 2)
    assert [record.facts["route"] for record in caplog.records] == ["/", "/"]  # type: ignore[attr-defined]
