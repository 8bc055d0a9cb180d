"""Any collection of recordings that a ``manifest.jsonl`` describes; see `affetto.data.manifest`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from affetto.data.corpora.corpus import Corpus, Parsed, Skipped, collect
from affetto.data.corpora.files import AudioFolders
from affetto.data.manifest import read_manifest


def detect(path: Path) -> bool:
    """Whether a path is a manifest, or a folder with one named ``manifest.jsonl``."""
    return _manifest(path).is_file()


def parse(path: Path) -> Parsed:
    """Reads a manifest and looks for its sound files.

    Raises:
        ManifestError: a line is faulty.
    """
    audio, utterances, skipped = AudioFolders(), [], []
    for utterance in read_manifest(_manifest(path)):
        found = audio.find(utterance.audio)
        if found is None:
            skipped.append(Skipped(utterance.id, "audio missing"))
        else:
            utterances.append(replace(utterance, audio=found))
    return collect(CORPUS.name, path, utterances, skipped)


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
