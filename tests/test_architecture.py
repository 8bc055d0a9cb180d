"""The house stays as docs/architecture.md draws it: layers, light imports, small files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from affetto import pretrained

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "src" / "affetto"
FILES = sorted(PACKAGE.rglob("*.py"))
PARTS = sorted(
    path.stem if path.is_file() else f"{path.name}/"
    for path in PACKAGE.iterdir()
    if (path.suffix == ".py" or (path / "__init__.py").exists()) and path.stem not in {"__init__", "__main__"}
)
HEAVY = ("torch", "lightning", "sklearn", "scipy", "matplotlib", "jiwer", "inflect", "soundfile")
EXTRAS = ("lightning", "pytorch_lightning", "tensorboard", "librosa", "opensmile", "psutil", "pytest", "hypothesis")
EXTRAS += ("jiwer", "joblib", "pandas", "scipy", "sklearn", "tomli_w")
EXTRAS += (
    "captum",
    "fastapi",
    "flashlight",
    "starlette",
    "uvicorn",
    "h11",
    "prometheus_client",
    "python_multipart",
    "httpx",
)


def _python(program: str) -> str:
    """Runs a program in an interpreter of its own, and gives what it printed."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_imports_go_down_only() -> None:
    # In a process of its own: import-linter sets up logging, which would silence our loggers in the tests after it.
    program = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def shell_imports() -> list[str]:
    """What importing the shell imports."""
    return _python("import sys, affetto.cli; print(*sys.modules)").split()


@pytest.mark.parametrize("heavy", HEAVY)
def test_the_shell_starts_light(heavy: str, shell_imports: list[str]) -> None:
    assert "affetto.cli" in shell_imports
    assert heavy not in shell_imports


def test_help_needs_no_torch() -> None:
    program = """
import sys
import affetto.cli
sys.modules["torch"] = None  # importing it is now an error
sys.argv = ["affetto", "--help"]
affetto.cli.main()
"""
    assert "Usage" in _python(program)


@pytest.mark.parametrize("module", ["affetto.cli", "affetto.recognise"])
def test_hearing_needs_no_extras(module: str) -> None:
    _python(f"import sys; sys.modules.update(dict.fromkeys({EXTRAS})); import {module}")


@pytest.mark.parametrize("model", pretrained.names())
@pytest.mark.parametrize("verb", [["recognise"], ["asr", "transcribe"]])
def test_recognising_loads_neither_a_compiler_nor_what_only_scores(verb: list[str], model: str) -> None:
    program = f"""
import sys
import affetto.cli
sys.modules.update(dict.fromkeys({EXTRAS}))
try:
    affetto.cli.main([*{verb}, {str(PACKAGE / "demo" / "sad.flac")!r}, "--model", {model!r}, "--format", "csv"])
except SystemExit as end:
    assert not end.code
print(*(name for name, module in sys.modules.items() if module))
"""
    loaded = _python(program).split()
    assert "torch" in loaded
    assert not {"torch._dynamo", "sympy", "inflect"}.intersection(loaded)


def test_importing_changes_nothing() -> None:
    names = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in FILES]
    program = f"""
import importlib, logging, numpy, torch
def state():
    seeds = torch.random.get_rng_state().sum(), numpy.random.get_state()[1].sum()
    return torch.get_num_threads(), torch.get_default_dtype(), *seeds, logging.root.level, logging.root.handlers[:]
before = state()
for name in {[name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]}:
    importlib.import_module(name)
print(state() == before)
"""
    assert _python(program) == "True"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_are_small(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("part", PARTS)
def test_every_part_is_in_the_picture(part: str) -> None:
    assert f"\n  {part}" in (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
