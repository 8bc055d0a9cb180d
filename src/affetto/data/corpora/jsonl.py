"""Any collection of recordings that a ``manifest.jsonl`` describes; see `affetto.data.manifest`."""

from __future__ import annotations

from pathlib import Path

from affetto.data.corpora.corpus import Corpus, Parsed, collect_with_sound
from affetto.data.manifest import read_manifest


def detect(path: Path) -> bool:
    """Whether a path is a manifest, or a folder with one named ``manifest.jsonl``."""
    return _manifest(path).is_file()


def parse(path: Path) -> Parsed:
    """Reads a manifest and looks for its sound files.

    Raises:
        ManifestError: a line is faulty.
    """
    return collect_with_sound(CORPUS.name, path, read_manifest(_manifest(path)))


def _manifest(path: Path) -> Path:
    return path if path.suffix == ".jsonl" and not path.is_dir() else path / "manifest.jsonl"


CORPUS = Corpus(
    name="jsonl",
    title="JSONL manifest",
    licence="that of the corpus described",
    citation="that of the corpus described",
    detect=detect,
    parse=parse,
)
