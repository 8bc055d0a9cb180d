"""Corpora as they lie on disk: one file a layout, one contract, found by looking at the folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from affetto.data.corpora.corpus import Corpus, Parsed, Skipped
from affetto.data.corpora.files import folders
from affetto.errors import CorpusError
from affetto.registry import Registry

__all__ = ["CORPORA", "Corpus", "Parsed", "Skipped", "find_corpus", "nothing_usable", "open_corpus", "reasons"]

CORPORA = Registry(
    "corpora",
    {
        "class_folders": "affetto.data.corpora.class_folders:CORPUS",
        "common_voice": "affetto.data.corpora.common_voice:CORPUS",
        "crema_d": "affetto.data.corpora.crema_d:CORPUS",
        "csv": "affetto.data.corpora.manifests:CSV",
        "emodb": "affetto.data.corpora.emodb:CORPUS",
        "iemocap": "affetto.data.corpora.iemocap:CORPUS",
        "jsonl": "affetto.data.corpora.manifests:JSONL",
        "kaldi": "affetto.data.corpora.kaldi:CORPUS",
        "librispeech": "affetto.data.corpora.librispeech:CORPUS",
        "lj_speech": "affetto.data.corpora.lj_speech:CORPUS",
        "meld": "affetto.data.corpora.meld:CORPUS",
        "ravdess": "affetto.data.corpora.ravdess:CORPUS",
        "tedlium": "affetto.data.corpora.tedlium:CORPUS",
        "voxforge": "affetto.data.corpora.voxforge:CORPUS",
    },
)


def find_corpus(path: Path, name: str | None = None) -> tuple[Path, Corpus]:
    """Where a corpus lies (a folder, the folder around it, or a manifest), and in which layout: the named one, if any.

    Raises CorpusError where the path is missing or empty, or no layout fits or several do, RegistryError where no
    layout has that name.
    """
    layouts = [CORPORA.load(each) for each in ([name] if name is not None else CORPORA.names())]
    _check_not_empty(path)
    fits = _fitting(path, layouts) or [fit for child in folders(path) for fit in _fitting(child, layouts)]
    if not fits and name is not None:
        return path, layouts[0]
    if not fits:
        titles = ", ".join(f"{corpus.name} ({corpus.title})" for corpus in layouts)
        others = "a manifest.csv or manifest.jsonl with audio and speaker describes any other"
        raise CorpusError("not in the layout of any known corpus", f"known layouts are {titles}; {others}", path)
    if len(fits) > 1:
        found = ", ".join(f"{root.name} ({corpus.name})" for root, corpus in fits)
        remedy = "give one of the folders" if name is not None else "give one of the folders, or name the layout"
        raise CorpusError(f"several corpora fit: {found}", remedy, path)
    return fits[0]


def open_corpus(path: Path, name: str | None = None) -> Parsed:
    """Reads the corpus at a path, in whichever known layout it lies there.

    Raises what `find_corpus` does, CorpusError where nothing usable is in it, ManifestError where a line is faulty.
    """
    root, corpus = find_corpus(path, name)
    parsed = corpus.parse(root)
    if not parsed.utterances:
        raise nothing_usable(root, parsed.skipped)
    return parsed


def nothing_usable(root: Path, skipped: Iterable[Skipped]) -> CorpusError:
    """The error for a corpus without one usable utterance; it counts why.

    >>> print(nothing_usable(Path("mine"), [Skipped("a", "audio missing")]))
    mine: nothing usable in it (audio missing: 1); check that the download is whole
    """
    counts = reasons(item.reason for item in skipped) or "no utterances listed"
    return CorpusError(f"nothing usable in it ({counts})", "check that the download is whole", root)


def reasons(found: Iterable[str]) -> str:
    """How often each reason was found, in one line, the most frequent first."""
    return ", ".join(f"{reason}: {count:,}" for reason, count in Counter(found).most_common())


def _fitting(path: Path, layouts: list[Corpus]) -> list[tuple[Path, Corpus]]:
    """The layouts that fit a path; none does where it cannot be looked into."""
    try:
        return [(path, corpus) for corpus in layouts if corpus.detect(path)]
    except OSError:
        return []


def _check_not_empty(path: Path) -> None:
    try:
        if not path.exists():
            raise CorpusError("no such file or folder", "check the path", path)
        if path.is_dir() and next(path.iterdir(), None) is None:
            raise CorpusError("the folder is empty", "unpack the corpus into it, or give another folder", path)
    except OSError as error:
        raise CorpusError(error.strerror or str(error), "check the path and its permissions", path) from error
