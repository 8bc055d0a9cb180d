"""The notebook runs from top to bottom, in a kernel of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parent.parent / "examples" / "affetto.ipynb"


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat", reason='needs pip install "affetto[dev]"')
    nbclient = pytest.importorskip("nbclient", reason='needs pip install "affetto[dev]"')
    pytest.importorskip("ipykernel", reason='needs pip install "affetto[dev]"')
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    before = kinds(notebook)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert kinds(notebook) == before
    assert ["display_data", "image/png", "text/plain"] in before


def kinds(notebook: Any) -> list[list[str]]:
    """Of what each cell puts out: a stream, or a result in some forms."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return [[output.output_type, *sorted(output.get("data", ()))] for output in outputs]
