"""The page in a real Chromium: everything that a person does with it, over a real socket."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from tests.server.serving import DEMO, RECOGNISE, Halting, eventually, metric, serving

from affetto.models.voices import can_tell_apart
from affetto.server.page import FORMATS
from affetto.server.settings import Settings

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

pytestmark = pytest.mark.heavy

TOKEN = "a token of many letters"
EXAMPLES = sorted(path.name for path in DEMO.glob("*.flac"))
PATIENCE_MS = 180_000  # a machine with other work may be slow; nothing here waits longer than it must
# What the browser was told to play: the offset and the length of each span, seconds; and from where in whole files.
WATCH = """
[window.played, window.started] = [[], []];
const play = HTMLMediaElement.prototype.play;
HTMLMediaElement.prototype.play = function () {
  window.started.push(this.currentTime);
  return play.call(this);
};
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (...given) {
  window.played.push(given);
  return start.apply(this, given);
};
"""


@pytest.fixture(scope="module")
def sound() -> bytes:
    """Two utterances with a pause between, as wav."""
    parts = [np.zeros(8000), soundfile.read(DEMO / "angry.flac")[0], np.zeros(16_000)]
    content = io.BytesIO()
    samples = np.concatenate([*parts, soundfile.read(DEMO / "sad.flac")[0], np.zeros(8000)])
    soundfile.write(content, samples, 16_000, format="WAV")
    return content.getvalue()


@pytest.fixture(scope="module")
def browser(sound: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Chromium whose microphone hears the sound, again and again."""
    heard = tmp_path_factory.mktemp("microphone") / "heard.wav"
    heard.write_bytes(sound)
    installed = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome", "chromium-browser"))), None)
    options = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    options += [f"--use-file-for-fake-audio-capture={heard}", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_api.sync_playwright() as playwright:
        if installed is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip("no Chromium: install one, or run: playwright install chromium")
        browser = playwright.chromium.launch(executable_path=installed, args=options, timeout=PATIENCE_MS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens the page; at the end of a test, nothing was asked for elsewhere and no error was told."""
    contexts, strangers, complaints = [], [], []

    def see(base: str, page: Any) -> None:
        def asked(request: Any) -> None:
            if not request.url.startswith((base, "blob:", "data:")):
                strangers.append(request.url)

        def told(message: Any) -> None:
            # The browser itself tells of every answer that is no success, also of those that a test wants.
            if message.type in {"error", "warning"} and not message.text.startswith("Failed to load resource"):
                complaints.append(message.text)

        page.on("request", asked)
        page.on("websocket", lambda socket: strangers.append(socket.url))
        page.on("console", told)
        page.on("pageerror", lambda error: complaints.append(str(error)))

    def opened(client: httpx.Client, width: int = 1280, scheme: str = "light") -> Any:
        base = str(client.base_url)
        context = browser.new_context(viewport={"width": width, "height": 850}, color_scheme=scheme)
        contexts.append(context)
        context.add_init_script(WATCH)
        context.grant_permissions(["microphone"], origin=base)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        see(base, page)
        page.goto(base)
        page.wait_for_selector(".chip")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert (strangers, complaints) == ([], [])


def until(page: Any, condition: str) -> None:
    """Waits until something is so in the page; its policy forbids what Playwright's own wait_for_function does."""
    assert eventually(lambda: bool(page.evaluate(condition)), PATIENCE_MS / 1000)


def give(page: Any, content: bytes, name: str = "call.wav") -> None:
    page.set_input_files(".file", {"name": name, "mimeType": "audio/wav", "buffer": content})


def result(page: Any) -> Any:
    page.wait_for_selector("main[data-state=done]")
    return page.locator(".result")


def problem(page: Any) -> tuple[str, str]:
    page.wait_for_selector("main[data-state=failed]")
    shown = page.locator(".problem")
    return shown.get_attribute("data-code"), shown.inner_text()


def ask(client: httpx.Client, content: bytes, name: str = "call.wav", **params: str) -> httpx.Response:
    return client.post(RECOGNISE, files={"file": (name, content)}, params=params)


def test_a_recording_is_recognised_and_shown(client: httpx.Client, visit: Callable[..., Any], sound: bytes) -> None:
    page = visit(client)
    give(page, sound)
    shown, expected = result(page), ask(client, sound).json()
    segments = expected["segments"]
    assert len(segments) >= 2
    statement = expected["emotion"] if expected["sure"] else "not sure"
    assert shown.locator(".statement").inner_text() == statement
    assert shown.locator(".source").inner_text().startswith("call.wav")
    assert shown.locator(".segment").count() == len(segments)
    assert shown.locator(".picture path").count() >= len(segments)
    assert shown.locator(".bar dt").all_inner_texts() == list(expected["probabilities"])
    words = [word["text"] for segment in segments for word in segment["words"]]
    assert shown.locator(".word").all_inner_texts() == words
    assert "not what anyone feels" in shown.locator(".trust").inner_text()
    shown.locator(".trust a").click()
    card = page.get_by_text("This model came without a card.")
    card.wait_for()
    assert card.is_visible()


def test_a_click_plays_that_part(client: httpx.Client, visit: Callable[..., Any], sound: bytes) -> None:
    page = visit(client)
    give(page, sound)
    shown = result(page)
    segment = ask(client, sound).json()["segments"][1]
    shown.locator(".segment").nth(1).click()
    until(page, "window.played.length === 1")
    assert shown.locator(".segment").nth(1).get_attribute("aria-pressed") == "true"
    assert shown.locator(".bars h3").inner_text().startswith("Part 2")
    word = segment["words"][0]
    shown.locator(".words li").nth(1).locator(".word").first.click()
    until(page, "window.played.length === 2")
    spans = [(start, start + length) for _, start, length in page.evaluate("window.played")]
    assert spans[0] == pytest.approx((segment["start_s"], segment["end_s"]))
    assert spans[1] == pytest.approx((word["start_s"], word["end_s"]))
    page.wait_for_selector(".play:not(.playing)")  # it ends by itself
    shown.locator(".play").click()
    until(page, "window.played.length === 3")
    assert page.evaluate("window.played[2][1]") == 0
    page.wait_for_selector(".head-line:not([hidden])", state="attached")
    shown.locator(".play").click()
    page.wait_for_selector(".play:not(.playing)")


@pytest.fixture(scope="module")
def call(sound: bytes) -> bytes:
    """Six utterances, in turn on the left and on the right."""
    samples, rate = soundfile.read(io.BytesIO(sound))
    half = len(samples) // 2
    parts = [(samples[:half], 0), (samples[half:], 1)] * 3
    content = io.BytesIO()
    both = [np.stack([part * (side == own) for own in (0, 1)], axis=1) for part, side in parts]
    soundfile.write(content, np.concatenate(both), rate, format="WAV")
    return content.getvalue()


def test_each_channel_has_a_row_of_its_own(client: httpx.Client, visit: Callable[..., Any], call: bytes) -> None:
    page = visit(client)
    page.check(".separate")
    give(page, call)
    shown, expected = result(page), ask(client, call, channels="separate").json()
    channels = [segment["channel"] for segment in expected["segments"]]
    assert set(channels) == {1, 2}
    assert shown.locator(".wave").count() == 2
    for number in (1, 2):
        row = shown.locator(".wave").nth(number - 1)
        assert row.locator(".segment").count() == channels.count(number)
        assert row.locator(".picture path").count() > channels.count(number)
    assert [text.split()[1] for text in shown.locator(".words .voice").all_inner_texts()] == list(map(str, channels))
    assert "channel 2: " in shown.locator(".how").inner_text()
    shown.get_by_role("button", name=f"channel 2 ({channels.count(2)})").click()
    assert shown.locator(".words li:visible").count() == channels.count(2)
    page.uncheck(".separate")
    give(page, call)
    page.wait_for_selector(".lane")
    assert result(page).locator(".wave").count() == 1


def test_each_speaker_has_a_row_of_its_own(client: httpx.Client, visit: Callable[..., Any], sound: bytes) -> None:
    if not can_tell_apart():
        pytest.skip("Resemblyzer is not installed")
    page = visit(client)
    page.check(".separate")
    page.select_option(".speakers", "2")
    assert not page.locator(".separate").is_checked()
    give(page, sound)
    shown, expected = result(page), ask(client, sound, speakers="2").json()
    assert [segment["speaker"] for segment in expected["segments"]] == [1, 2]
    assert shown.locator(".wave").count() == 2
    for row in shown.locator(".wave").all():
        assert row.locator(".segment").count() == 1
    assert [text.split()[1] for text in shown.locator(".words .voice").all_inner_texts()] == ["1", "2"]
    assert "speaker 2: " in shown.locator(".how").inner_text()
    page.check(".separate")
    assert page.locator(".speakers").input_value() == ""


def test_a_long_one_can_be_looked_through(client: httpx.Client, visit: Callable[..., Any], call: bytes) -> None:
    page = visit(client)
    give(page, call)
    shown, segments = result(page), ask(client, call).json()["segments"]
    assert shown.locator(".filters .chip").first.inner_text() == f"all ({len(segments)})"
    surest = max(range(len(segments)), key=lambda place: certainty(segments[place]))
    shown.get_by_role("button", name="the surest").click()
    assert shown.locator(".segment").nth(surest).get_attribute("aria-pressed") == "true"
    until(page, "window.played.length === 1")
    assert page.evaluate("window.played[0][1]") == pytest.approx(segments[surest]["start_s"])
    page.keyboard.press("Space")  # though a button has the focus
    page.wait_for_selector(".play:not(.playing)")
    assert page.locator(".head-line").first.is_visible()
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Space")
    until(page, "window.played.length === 2")
    assert page.evaluate("window.played[1][1]") >= segments[surest]["start_s"]  # it goes on from there
    page.keyboard.press("ArrowLeft" if surest else "ArrowRight")
    chosen = shown.locator(".segment").nth(surest - 1 if surest else 1)
    assert chosen.get_attribute("aria-pressed") == "true"
    assert page.evaluate("document.querySelector('.time').scrollWidth <= document.querySelector('.time').clientWidth")
    shown.get_by_role("button", name="Show less of it at a time").click()
    assert page.evaluate("document.querySelector('.time').scrollWidth > document.querySelector('.time').clientWidth")
    shown.get_by_role("button", name="Show more of it at a time").click()
    assert page.evaluate("document.querySelector('.time').scrollWidth <= document.querySelector('.time').clientWidth")


def certainty(segment: dict[str, Any]) -> tuple[bool, float]:
    """What states an emotion is surer than what does not."""
    return segment["sure"] and segment["familiar"], max(segment["probabilities"].values())


def test_unfamiliar_sound_is_not_the_surest(client: httpx.Client, visit: Callable[..., Any], call: bytes) -> None:
    told: list[dict[str, Any]] = []

    def doubt(route: Any) -> None:
        """As if the most probable emotion were of unfamiliar sound, and all others sure."""
        *progress, last = route.fetch().text().splitlines()
        texts = json.loads(last)
        recording = json.loads(texts["json"])
        told.extend(recording["segments"])
        for each in told:
            each |= {"sure": True, "familiar": True}
        max(told, key=certainty)["familiar"] = False
        body = "\n".join([*progress, json.dumps({**texts, "json": json.dumps(recording)})])
        route.fulfill(status=200, content_type="application/x-ndjson", body=body)

    page = visit(client)
    page.route("**/v1/recognise*", doubt)
    give(page, call)
    result(page).get_by_role("button", name="the surest").click()
    surest = max(range(len(told)), key=lambda place: certainty(told[place]))
    assert page.locator(".segment").nth(surest).get_attribute("aria-pressed") == "true"


def test_names_that_do_not_fit_are_left_out(client: httpx.Client, visit: Callable[..., Any], sound: bytes) -> None:
    page = visit(client)
    give(page, sound)
    result(page)
    page.evaluate("document.querySelectorAll('.segment .tag').forEach((tag) => (tag.textContent = 'a'.repeat(200)))")
    page.set_viewport_size({"width": 390, "height": 850})
    until(page, "!document.querySelector('.segment:not(.narrow)')")


def tab(page: Any, selector: str) -> list[str]:
    """Presses Tab until an element that matches has the focus; gives the texts of all that had it."""
    texts: list[str] = []
    while len(texts) < 30:
        page.keyboard.press("Tab")
        texts.append(page.evaluate("document.activeElement.innerText.trim()"))
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return texts
    raise AssertionError(f"{selector} is not reached: {texts}")


def test_all_can_be_done_from_the_keyboard(client: httpx.Client, visit: Callable[..., Any]) -> None:
    page = visit(client)
    names = [Path(name).stem for name in EXAMPLES]
    choices = ["", *([page.locator(".speakers").inner_text().strip()] if can_tell_apart() else [])]
    assert tab(page, ".chip:last-child") == ["", "Record", *choices, *names]  # a file; whether channels are separate
    page.keyboard.press("Enter")
    shown = result(page)
    assert page.evaluate("document.activeElement.matches('.statement')")  # so that it is read aloud
    tab(page, ".segment")
    page.keyboard.press("Space")
    until(page, "window.played.length === 1")
    assert shown.locator(".segment").first.get_attribute("aria-pressed") == "true"


CARD = """# Card

- **What**: `a <b>` and
  [a link](https://example.org/x), [none](javascript:alert(1))
- two

| true \\ predicted | **anger** |
|---|---|
| <img src=x onerror=alert(1)> | 206 |

One line,
and another.
"""


def test_model_cards(client: httpx.Client, visit: Callable[..., Any]) -> None:
    page = visit(client)
    html = page.evaluate(
        """async (card) => {
            const { markdown } = await import("/page/markdown.js");
            const place = document.createElement("div");
            place.append(...markdown(card));
            return place.innerHTML.replaceAll(' class=""', "");
        }""",
        CARD,
    )
    assert html == (
        "<h1>Card</h1>"
        "<ul><li><strong>What</strong>: <code>a &lt;b&gt;</code> and\n  "
        '<a href="https://example.org/x">a link</a>, [none](javascript:alert(1))</li><li>two</li></ul>'
        "<table><tr><th>true \\ predicted</th><th><strong>anger</strong></th></tr>"
        "<tr><td>&lt;img src=x onerror=alert(1)&gt;</td><td>206</td></tr></table>"
        "<p>One line, and another.</p>"
    )


@pytest.mark.parametrize("format_", FORMATS)
def test_downloads_are_what_the_api_gives(
    client: httpx.Client, visit: Callable[..., Any], sound: bytes, format_: str
) -> None:
    page = visit(client)
    give(page, sound)
    shown = result(page)
    with page.expect_download() as waiting:
        shown.get_by_role("link", name=format_.upper(), exact=True).click()
    got = Path(waiting.value.path()).read_text(encoding="utf-8")
    expected = ask(client, sound, format=format_).text
    assert waiting.value.suggested_filename.lower() == f"call.{format_}"
    assert (json.loads(got) == json.loads(expected)) if format_ == "json" else (got == expected)


def test_the_microphone(client: httpx.Client, visit: Callable[..., Any]) -> None:
    page = visit(client)
    page.locator(".record").click()
    page.wait_for_selector("main[data-state=recording]")
    until(page, "document.querySelector('.clock').textContent >= '0:06'")
    page.locator(".stop").click()
    shown = result(page)
    assert shown.locator(".source").inner_text().startswith("recording.wav")
    assert shown.locator(".segment").count() >= 1
    page.locator(".record").click()
    page.locator(".discard").click()
    page.wait_for_selector("main[data-state=idle]")
    assert shown.is_hidden()


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_a_click_away(client: httpx.Client, visit: Callable[..., Any], name: str) -> None:
    page = visit(client)
    page.get_by_role("button", name=Path(name).stem, exact=True).click()
    assert result(page).locator(".source").inner_text().startswith(name)


@pytest.mark.parametrize(
    ("content", "code"), [(b"", "no_sound"), (b"words, not sound", "no_sound"), (bytes(200_000), "too_large")]
)
def test_what_cannot_be_read_is_reported_and_the_next_is_recognised(
    serve: Callable[..., httpx.Client], visit: Callable[..., Any], content: bytes, code: str
) -> None:
    page = visit(serve(max_upload_mb=0.15))
    give(page, content)
    found, text = problem(page)
    assert found == code
    assert len(text.splitlines()) >= 2  # what was found, and what to do
    page.get_by_role("button", name="angry", exact=True).click()
    result(page)
    assert page.locator(".problem").is_hidden()


def test_what_is_too_long(serve: Callable[..., httpx.Client], visit: Callable[..., Any], sound: bytes) -> None:
    page = visit(serve(max_duration_s=3))
    give(page, sound)
    assert problem(page)[0] == "too_long"


def test_what_only_the_browser_can_decode_is_sent_as_wav(
    client: httpx.Client, visit: Callable[..., Any], browser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("affetto.audio.program.shutil.which", lambda _: None)  # as on a machine without ffmpeg
    page = visit(client)
    recorded = page.evaluate(  # Chromium's recordings are WebM, which libsndfile does not know
        """async () => {
            const media = new MediaRecorder(await navigator.mediaDevices.getUserMedia({ audio: true }));
            const chunks = [];
            media.ondataavailable = (event) => chunks.push(event.data);
            const ended = new Promise((resolve) => (media.onstop = resolve));
            media.start();
            await new Promise((resolve) => setTimeout(resolve, 3000));
            media.stop();
            await ended;
            return [...new Uint8Array(await new Blob(chunks).arrayBuffer())];
        }"""
    )
    assert ask(client, bytes(recorded), "memo.webm").json()["code"] == "no_sound"
    give(page, bytes(recorded), "memo.webm")
    assert result(page).locator(".source").inner_text().startswith("memo.webm")


def test_silence_is_shown_as_such(client: httpx.Client, visit: Callable[..., Any]) -> None:
    content = io.BytesIO()
    soundfile.write(content, np.zeros(32_000), 16_000, format="WAV")
    page = visit(client)
    give(page, content.getvalue())
    shown = result(page)
    assert shown.locator(".statement").inner_text() == "no speech"
    assert "was the microphone on" in shown.inner_text()


def test_a_busy_service_is_asked_again(
    serve: Callable[..., httpx.Client], visit: Callable[..., Any], recogniser: Halting, sound: bytes
) -> None:
    client = serve(queue=1)
    page = visit(client)
    recogniser.hold()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, client, sound)
        assert eventually(lambda: metric(client, "affetto_requests_taken") == 1)
        give(page, sound)
        until(page, "document.querySelector('.doing').textContent.startsWith('Many are asking')")
        recogniser.go_on()
        assert first.result().status_code == 200
    result(page)


def test_a_proxy_that_sends_away_is_asked_again(client: httpx.Client, visit: Callable[..., Any], sound: bytes) -> None:
    page = visit(client)
    page.route("**/v1/recognise?*", lambda route: route.fulfill(status=503, body="<h1>503</h1>"), times=2)
    give(page, sound)
    assert result(page).locator(".source").inner_text().startswith("call.wav")


def test_unfamiliar_sound_is_shown_as_such(client: httpx.Client, visit: Callable[..., Any], sound: bytes) -> None:
    page = visit(client)
    told = {**ask(client, sound).json(), "familiar": False, "sure": False}
    for segment in told["segments"]:
        segment.update(familiar=False, sure=False)
    texts = {"json": json.dumps(told), "csv": "", "vtt": ""}
    page.route("**/v1/recognise?*", lambda route: route.fulfill(json=texts))
    give(page, sound)
    shown = result(page)
    assert shown.locator(".statement").inner_text() == "unfamiliar sound"
    assert "unlike all that the model was trained on" in shown.locator(".how").inner_text()
    assert shown.locator(".segment.unsure").count() == len(told["segments"])


def test_a_long_one_shows_how_far_it_is(
    serve: Callable[..., httpx.Client], visit: Callable[..., Any], recogniser: Halting, talk: bytes
) -> None:
    page = visit(serve())
    recogniser.hold()
    give(page, talk, "talk.flac")
    page.wait_for_selector(".busy[aria-valuenow]")
    until(page, "!document.querySelector('.far').textContent.startsWith('0:00')")
    doing, far, done, spoken, wide = page.evaluate(  # at once, as it goes on
        """[".doing", ".far"].map((each) => document.querySelector(each).textContent).concat(
            ["aria-valuenow", "aria-valuetext"].map((each) => document.querySelector(".busy").getAttribute(each)),
            document.querySelector(".busy span").style.width)"""
    )
    assert (doing, spoken, wide) == ("Listening to talk.flac …", far, f"{done}%")
    minutes, seconds = far.partition(" of 5:40")[0].split(":")
    assert int(done) == pytest.approx((60 * int(minutes) + int(seconds)) / 3.40, abs=1)
    recogniser.go_on()
    assert result(page).locator(".segment").count() == 65


def test_it_says_how_long_the_rest_will_take(client: httpx.Client, visit: Callable[..., Any]) -> None:
    given = [(0.5, 5), (0, 60), (0.25, 60), (0.9, 60)]  # shares, and the seconds that they took
    told = """(given) => import("/page/text.js").then(({ left }) => given.map((each) => left(...each)))"""
    assert visit(client).evaluate(told, given) == ["", "", ", about 3 min left", ", less than a minute left"]


def test_what_is_there_can_be_looked_through_while_the_rest_is_to_come(
    serve: Callable[..., httpx.Client], visit: Callable[..., Any], stepping: Halting, talk: bytes
) -> None:
    client = serve()
    page = visit(client)
    give(page, talk, "talk.flac")
    shown = page.locator(".result")
    until(page, "document.querySelectorAll('.segment').length === 12")
    until(page, "!document.querySelector('.play').disabled")
    assert page.get_attribute("main", "data-state") == "listening"
    assert shown.locator(".statement").inner_text() == "so far"
    assert shown.locator(".how").inner_text().startswith("12 parts, up to 1:0")
    assert (shown.locator(".bars").is_visible(), shown.locator(".downloads").is_visible()) == (False, False)
    shown.locator(".segment").nth(2).click()
    until(page, "window.played.length === 1")
    assert shown.locator(".bars h3").inner_text() == "Part 3"
    shown.get_by_role("button", name="Show less of it at a time").click()
    kind = shown.locator(".words .tag").nth(2).inner_text()
    shown.get_by_role("button", name=f"{kind} (").click()
    word = shown.locator(".words li").nth(2).locator("button").last
    word.focus()
    for many in (24, 36, 48, 60):
        stepping.go_on()
        until(page, f"document.querySelectorAll('.segment').length === {many}")
    assert shown.locator(".words li").count() == shown.locator(".lane").first.locator(".cell").count() == 60
    stepping.go_on()
    result(page)
    assert shown.locator(".segment").count() == shown.locator(".words li").count() == 65
    assert shown.locator(".segment").nth(2).get_attribute("aria-pressed") == "true"
    assert shown.locator(".bars h3").inner_text() == "Part 3 of 65"
    assert word.evaluate("(button) => button === document.activeElement")  # nobody is taken away from what they look at
    assert shown.locator(".filters [aria-pressed=true]").inner_text().startswith(f"{kind} (")
    assert page.evaluate("document.querySelector('.time').scrollWidth > document.querySelector('.time').clientWidth")
    assert shown.locator(".downloads a").count() == len(FORMATS)


def test_parts_of_separate_channels_fall_into_their_places(
    client: httpx.Client, visit: Callable[..., Any], call: bytes
) -> None:
    page = visit(client)
    page.check(".separate")
    told = ask(client, call, channels="separate").json()
    segments = told["segments"]
    steps = [
        {"progress_s": 1.0, "duration_s": told["duration_s"], "queue": 0, "segments": segments[n::3]} for n in (2, 0)
    ]
    lines = [*steps, {"json": json.dumps(told), **dict.fromkeys(FORMATS[1:], "")}]
    page.route("**/v1/recognise?*", lambda route: route.fulfill(body="\n".join(map(json.dumps, lines))))
    give(page, call)
    shown = result(page)
    channels = [str(segment["channel"]) for segment in segments]
    assert [text.split()[1] for text in shown.locator(".words .voice").all_inner_texts()] == channels
    for number in (1, 2):
        labels = [
            each.get_attribute("aria-label")
            for each in shown.locator(".wave").nth(number - 1).locator(".segment").all()
        ]
        assert [text.split(", ")[1].split()[0] for text in labels] == sorted(
            text.split(", ")[1].split()[0] for text in labels
        )
        assert len(labels) == channels.count(str(number))
    assert shown.locator(".wave").count() == 2


def test_what_came_before_a_problem_is_taken_away(
    client: httpx.Client, visit: Callable[..., Any], sound: bytes
) -> None:
    page = visit(client)
    told = ask(client, sound).json()
    steps = {"progress_s": 1.0, "duration_s": told["duration_s"], "queue": 0, "segments": told["segments"]}
    last = {"code": "timeout", "problem": "no result after 60 s", "remedy": "try again"}
    page.route("**/v1/recognise?*", lambda route: route.fulfill(body=f"{json.dumps(steps)}\n{json.dumps(last)}\n"))
    give(page, sound)
    assert problem(page)[0] == "timeout"
    assert page.locator(".result").is_hidden()


def test_who_cancels_frees_the_place(
    serve: Callable[..., httpx.Client], visit: Callable[..., Any], recogniser: Halting, talk: bytes, angry: bytes
) -> None:
    client = serve()
    page, other = visit(client), visit(client)
    recogniser.hold()
    give(page, talk)
    page.wait_for_selector(".busy[aria-valuenow]")
    give(other, talk)
    until(other, "document.querySelector('.doing').textContent === 'Waiting: place 1 in the queue …'")
    assert other.get_attribute(".busy", "aria-valuenow") is None
    for each, left in ((other, 1), (page, 0)):
        each.locator(".cancel").click()
        each.wait_for_selector("main[data-state=idle]")
        assert eventually(lambda left=left: metric(client, "affetto_requests_taken") == left)
    recogniser.go_on()
    assert ask(client, angry).status_code == 200
    assert len(recogniser.heard) == 2  # the batch that was held up, and this one


@pytest.mark.parametrize(
    ("last", "code"),
    [
        ("", "unreachable"),
        ('{"code": "timeout", "problem": "no result after 60 s", "remedy": "try again"}\n', "timeout"),
    ],
)
def test_a_stream_that_breaks_off_is_reported(
    client: httpx.Client, visit: Callable[..., Any], sound: bytes, last: str, code: str
) -> None:
    page = visit(client)
    body = f'{{"progress_s": 1.0, "duration_s": 2.0, "queue": 0}}\n{last}'
    page.route("**/v1/recognise?*", lambda route: route.fulfill(body=body))
    give(page, sound)
    assert problem(page)[0] == code


def test_what_is_too_long_to_be_decoded_is_played_as_a_file(
    client: httpx.Client, visit: Callable[..., Any], sound: bytes
) -> None:
    page = visit(client)
    script = client.get("/page/sound.js").text.replace("MOST_DECODED_S = 2000", "MOST_DECODED_S = 2")
    page.route("**/page/sound.js", lambda route: route.fulfill(body=script, content_type="text/javascript"))
    page.reload()
    page.wait_for_selector(".chip")
    give(page, sound)
    shown, segment = result(page), ask(client, sound).json()["segments"][1]
    shown.locator(".segment").nth(1).click()
    until(page, "window.started.length === 1")
    assert page.evaluate("window.started") == [pytest.approx(segment["start_s"], abs=0.01)]
    page.wait_for_selector(".play.playing")
    page.wait_for_selector(".play:not(.playing)")  # it ends by itself
    assert page.evaluate("window.played") == []


def test_a_token_is_asked_for_and_kept_in_the_tab(tiny_model: Path, visit: Callable[..., Any], sound: bytes) -> None:
    with serving(Halting.made(tiny_model), tiny_model, Settings.parse({"token": TOKEN})) as client:
        page = visit(client)
        assert page.locator(".token").is_visible()
        page.fill("#token", "another token")
        page.get_by_role("button", name="Use it").click()
        assert problem(page)[0] == "unauthorised"
        page.fill("#token", TOKEN)
        page.get_by_role("button", name="Use it").click()
        page.wait_for_selector(".token", state="hidden")
        give(page, sound)
        result(page)
        page.reload()
        page.wait_for_selector(".chip")
        assert page.locator(".token").is_hidden()
        assert page.context.cookies() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_the_screen(
    client: httpx.Client, visit: Callable[..., Any], sound: bytes, width: int, scheme: str
) -> None:
    page = visit(client, width, scheme)
    give(page, sound)
    result(page)
    page.locator(".trust a").click()
    page.get_by_text("This model came without a card.").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 23, 29)"}[scheme]
