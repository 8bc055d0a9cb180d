"""LibriSpeech: ``dev-clean/84/121123/84-121123-0000.flac`` with a transcript a chapter.

https://openslr.org/12
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from affetto.data.corpora.corpus import Corpus, Parsed, Skipped, collect
from affetto.data.corpora.files import AudioFolders, folders, read_lines
from affetto.data.utterance import Utterance


def detect(path: Path) -> bool:
    """Whether a path is the corpus or one of its subsets."""
    return bool(_subsets(path))


def parse(path: Path) -> Parsed:
    """Reads every subset; the partition is the subset's name, the speaker the reader's number.

    Raises:
        CorpusError: a transcript is not UTF-8.
    """
    audio, skipped = AudioFolders(), list[Skipped]()
    utterances = [
        utterance
        for subset in _subsets(path)
        for reader in folders(subset)
        for chapter in folders(reader)
        for utterance in _read_chapter(subset.name, reader.name, chapter, audio, skipped)
    ]
    return collect(CORPUS.name, path, utterances, skipped)


def _subsets(path: Path) -> list[Path]:
    return [folder for folder in (path, *folders(path)) if next(folder.glob("[0-9]*/[0-9]*/*.trans.txt"), None)]


def _read_chapter(
    subset: str, reader: str, chapter: Path, audio: AudioFolders, skipped: list[Skipped]
) -> Iterator[Utterance]:
    texts = {
        words[0]: words[1].strip() if len(words) > 1 else ""
        for transcript in sorted(chapter.glob("[!.]*.trans.txt"))
        for words in (line.split(maxsplit=1) for _, line in read_lines(transcript))
    }
    for utterance_id in sorted(texts.keys() | set(audio.stems(chapter))):
        found, text = audio.find(chapter / utterance_id), texts.get(utterance_id, "")
        if found is None:
            skipped.append(Skipped(utterance_id, "audio missing"))
        elif not text:
            skipped.append(Skipped(utterance_id, "no transcript"))
        else:
            yield Utterance(
                id=utterance_id, audio=found, speaker=reader, corpus=CORPUS.name, text=text, partition=subset
            )


CORPUS = Corpus(
    name="librispeech",
    title="LibriSpeech",
    licence="CC-BY-4.0",
    citation="Panayotov et al. (2015), LibriSpeech: An ASR Corpus Based on Public Domain Audio Books, ICASSP",
    detect=detect,
    parse=parse,
)
