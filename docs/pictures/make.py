"""Takes the pictures in the README: `python docs/pictures/make.py` (needs affetto[dev] and Chromium)."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image
from playwright.sync_api import sync_playwright
from rich.console import CONSOLE_SVG_FORMAT, Console
from rich.text import Text

import affetto

HERE = Path(__file__).parent
DEMO = Path(affetto.__file__).parent / "demo"
PARTIES = (("happy", 0), ("neutral", 1), ("angry", 0), ("sad", 1))
WIDTH, HEIGHT, WIDEST, COLOURS = 1000, 760, 1600, 224
COLUMNS = 92
AFFETTO = (sys.executable, "-m", "affetto")


def call() -> bytes:
    """The bundled recordings in turn, of two parties with a channel each."""
    parts = []
    for name, party in PARTIES:
        samples, rate = soundfile.read(DEMO / f"{name}.flac")
        parts.append(np.stack([samples * (party == channel) for channel in (0, 1)], axis=1))
    content = io.BytesIO()
    soundfile.write(content, np.concatenate(parts), rate, format="WAV")
    return content.getvalue()


def keep(picture: Image.Image, name: str) -> None:
    """A light file of it, of few colours and hardly wider than it is shown."""
    picture.thumbnail((WIDEST, picture.height))
    picture.convert("RGB").quantize(COLOURS).save(HERE / name, optimize=True)


def take_terminal(folder: Path) -> None:
    """What the shell shows of the call."""
    asked = ("recognise", "--channels", "separate", "call.wav")
    shown = {"FORCE_COLOR": "1", "COLORTERM": "truecolor", "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    printed = subprocess.run(
        [*AFFETTO, *asked], cwd=folder, env=os.environ | shown, check=True, capture_output=True, text=True
    ).stdout
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.assemble(("$ ", "bold"), f"affetto {' '.join(asked)}"))
    console.print(Text.from_ansi(printed), end="")
    without_fonts = re.sub(r"@font-face {{.*?}}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)  # they are on the network
    svg = console.export_svg(
        title="affetto", code_format=without_fonts.replace("Fira Code", "monospace"), unique_id="a"
    )
    (HERE / "terminal.svg").write_text(svg, encoding="utf-8")


def take_explanation() -> None:
    """What decided one recording."""
    asked = ("explain", str(DEMO / "angry.flac"), "--output", str(HERE / "explain.png"))
    subprocess.run([*AFFETTO, *asked], check=True)
    keep(Image.open(HERE / "explain.png"), "explain.png")


def take_page(recording: bytes) -> None:
    """Serves the page, lets it recognise the call, and keeps what can be seen."""
    with subprocess.Popen([*AFFETTO, "serve", "--port", "0"], stderr=subprocess.PIPE, text=True) as service:
        assert service.stderr is not None
        address = next(found[0] for line in service.stderr if (found := re.search(r"http://\S+", line)))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            page.goto(address)
            page.check(".separate")
            page.set_input_files(".file", {"name": "call.wav", "mimeType": "audio/wav", "buffer": recording})
            page.wait_for_selector("main[data-state=done]")
            picture = page.screenshot(full_page=True)
            browser.close()
        service.terminate()
    keep(Image.open(io.BytesIO(picture)), "page.png")


def main() -> None:
    """All of them."""
    recording = call()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "call.wav").write_bytes(recording)
        take_terminal(Path(folder))
    take_explanation()
    take_page(recording)


if __name__ == "__main__":
    main()
