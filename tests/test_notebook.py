"""The notebook runs from top to bottom, and prints what it shows."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parent.parent / "examples" / "affetto.ipynb"


@pytest.mark.slow
def test_the_notebook_prints_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for needed in ("matplotlib", "pandas"):
        pytest.importorskip(needed, reason='needs pip install "affetto[notebook]"')
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "notebook"}
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), NOTEBOOK.name, "exec"), names)  # noqa: S102
            assert capsys.readouterr().out == printed(cell)
    assert names["recording"].emotion == "anger"


def printed(cell: dict[str, Any]) -> str:
    streams = [output["text"] for output in cell["outputs"] if output.get("name") == "stdout"]
    return "".join("".join(text) for text in streams)
