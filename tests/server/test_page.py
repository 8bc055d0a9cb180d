"""The page as the service hands it out: what can be reached, what cannot, and that nothing else changes."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import httpx
import pytest
from tests.server.serving import DEMO, RECOGNISE, Halting, eventually, serving

from affetto.formats import FORMATS
from affetto.server import page
from affetto.server.answers import RecordingAnswer
from affetto.server.settings import Settings

STATIC = sorted(path.name for path in page.STATIC.iterdir() if path.name != "index.html")
EXAMPLES = sorted(path.name for path in DEMO.glob("*.flac"))
TOKEN = "a token of many letters"
EVERYTHING = ["/", *(f"/page/{name}" for name in ("facts.js", *STATIC, *(f"demo/{name}" for name in EXAMPLES)))]


@pytest.mark.parametrize("path", EVERYTHING)
def test_no_file_names_anything_elsewhere(client: httpx.Client, path: str) -> None:
    if not path.endswith(".flac"):
        assert set(re.findall(r"https?://[^\s\"'<>`)]+", client.get(path).text)) <= {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize("path", EVERYTHING)
def test_its_policy_keeps_the_browser_here(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    rules = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
    assert {rules[name] for name in ("default-src", "base-uri", "form-action", "frame-ancestors")} == {"'none'"}
    assert rules.pop("media-src") == "blob:"  # a file that the page was given
    assert {allowed for name, allowed in rules.items() if name.endswith("-src")} == {"'self'", "'none'"}
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")


def test_no_script_or_style_stands_in_the_page(client: httpx.Client) -> None:
    html = client.get("/").text
    assert html == (page.STATIC / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script(?![^>]* src=)|<style| style=| on\w+=", html) == []


def test_what_it_names_is_there(client: httpx.Client) -> None:
    texts = [(page.STATIC / name).read_text(encoding="utf-8") for name in ("index.html", *STATIC)]
    named = {each for text in texts for each in re.findall(r'(?:src|href)="(page/[^"]+)"', text)}
    named |= {f"page/{each}" for text in texts for each in re.findall(r'from "\./([^"]+)"', text)}
    assert named == {f"page/{name}" for name in (*STATIC, "facts.js")}
    assert {path: client.get(f"/{path}").status_code for path in named} == dict.fromkeys(named, 200)


def test_what_scripts_import_is_asked_for_at_once() -> None:
    html = (page.STATIC / "index.html").read_text(encoding="utf-8")
    imported = {each for name in STATIC for each in re.findall(r'from "\./([^"]+)"', (page.STATIC / name).read_text())}
    assert set(re.findall('rel="modulepreload" href="page/([^"]+)"', html)) == imported


@pytest.mark.parametrize("path", EVERYTHING)
def test_a_file_is_sent_once(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.headers["cache-control"] == "no-cache"
    again = client.get(path, headers={"If-None-Match": f'"other", W/{answer.headers["etag"]}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", answer.headers["etag"])
    assert client.get(path, headers={"If-None-Match": '"other"'}).content == answer.content


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/page/page.css", "text/css; charset=utf-8"),
        ("/page/page.js", "text/javascript; charset=utf-8"),
        ("/page/icon.svg", "image/svg+xml"),
        ("/page/demo/angry.flac", "audio/flac"),
    ],
)
def test_kinds(client: httpx.Client, path: str, kind: str) -> None:
    assert client.get(path).headers["content-type"] == kind


@pytest.mark.parametrize(
    "path",
    [
        "/page/",
        "/page/index.html",
        "/page/__init__.py",
        "/page/../__init__.py",
        "/page/%2e%2e/__init__.py",
        "/page/demo/README.md",
        "/page/demo/..%2fpage.js",
        "/index.html",
        "/page/static/page.js",
    ],
)
def test_nothing_else_of_the_disk_is_there(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", EVERYTHING)
def test_the_page_can_only_be_read(client: httpx.Client, path: str) -> None:
    answer = client.post(path, content=b"x")
    assert (answer.status_code, answer.json()["code"]) == (405, "wrong_method")


def test_what_a_client_says_is_not_in_the_page(client: httpx.Client) -> None:
    hostile = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "evil"}
    assert client.get("/?view=evil", headers=hostile).text == client.get("/").text
    assert client.get("/", headers={"Host": "rebound.example"}).json()["code"] == "unknown_host"


def test_the_page_is_there_without_a_token_but_tells_nothing_of_the_model(tiny_model: Path) -> None:
    with serving(Halting.made(tiny_model), tiny_model, Settings.parse({"token": TOKEN})) as client:
        facts = client.get("/page/facts.js")
        assert (facts.status_code, '"asksToken": true' in facts.text, TOKEN in facts.text) == (200, True, False)
        assert client.get("/v1/models").status_code == 401


def test_the_page_can_be_left_out(tiny_model: Path) -> None:
    with serving(Halting.made(tiny_model), tiny_model, Settings(page=False)) as client:
        for path in ("/", "/page/page.js", "/page/facts.js"):
            assert client.get(path).json()["code"] == "not_found"


def test_several_formats_are_recognised_once(client: httpx.Client, angry: bytes) -> None:
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


def test_the_log_tells_that_it_was_the_page(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "affetto.server"):
        client.get("/")
        client.get("/page/page.js")
        assert eventually(lambda: len(caplog.records) >= 2)
    assert [record.facts["route"] for record in caplog.records] == ["/", "/page/page.js"]  # type: ignore[attr-defined]
