"""LibriSpeech: ``dev-clean/84/121123/84-121123-0000.flac`` with a transcript a chapter.

https://openslr.org/12
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from affetto.data.corpora.corpus import Corpus, Found, Skipped
from affetto.data.corpora.files import AudioFolders, folders, read_table
from affetto.data.utterance import Utterance


def read(path: Path) -> Iterator[Found]:
    """Reads every subset; the partition is the subset's name, the speaker the reader's number."""
    for subset in _subsets(path):
        part = subset.name
        for chapter in (chapter for reader in folders(subset) for chapter in folders(reader)):
            texts: dict[str, str] = {}
            for transcript in sorted(chapter.glob("[!.]*.trans.txt")):
                texts |= read_table(transcript)
            for name in sorted(texts.keys() | set(AudioFolders().stems(chapter))):
                text, audio, reader = texts.get(name), chapter / name, chapter.parent.name
                if text:
                    yield Utterance(id=name, audio=audio, speaker=reader, corpus=CORPUS.name, text=text, partition=part)
                else:
                    yield Skipped(name, "no transcript")


def _subsets(path: Path) -> list[Path]:
    return [folder for folder in (path, *folders(path)) if next(folder.glob("[0-9]*/[0-9]*/*.trans.txt"), None)]


CORPUS = Corpus(
    name="librispeech",
    title="LibriSpeech",
    licence="CC-BY-4.0",
    citation="Panayotov et al. (2015), LibriSpeech: An ASR Corpus Based on Public Domain Audio Books, ICASSP",
    detect=lambda path: bool(_subsets(path)),
    read=read,
    language="en",
)
