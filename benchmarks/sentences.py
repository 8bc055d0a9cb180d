"""The sentences of books, for synthesisers to read.

    python benchmarks/sentences.py BOOK.txt [BOOK.txt ...] > sentences.txt     (pip install sentencex)

Plain text, as Project Gutenberg's: paragraphs with blank lines between. Printed shuffled, each once, without numbers,
headings and quotation marks.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Iterator
from pathlib import Path

SPOKEN = {"Mr.": "mister", "Mrs.": "missus", "Dr.": "doctor", "St.": "saint", "Messrs.": "messieurs", "--": ", "}


def sentences(book: str) -> Iterator[str]:
    """Those that can be read aloud as they stand."""
    import sentencex

    for paragraph in re.split(r"\n\s*\n", book):
        text = " ".join(paragraph.split()).replace("’", "'").replace("_", "")
        if text.isupper() or re.match("(chapter|volume) ", text, re.IGNORECASE):
            continue
        for sentence in sentencex.segment("en", text):
            spoken = re.sub("|".join(map(re.escape, SPOKEN)), lambda found: SPOKEN[found.group()], sentence)
            plain = re.sub(r"[\"“”()\[\]]", "", spoken).strip(" ,")
            if plain.isascii() and not re.search(r"[0-9&]", plain):
                yield re.sub(r"[\s,]*,\s*", ", ", plain)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("books", type=Path, nargs="+", metavar="BOOK.txt")
    parser.add_argument("--shortest", type=int, default=25, help="characters")
    parser.add_argument("--longest", type=int, default=170, help="characters, of about 15 a second")
    arguments = parser.parse_args()
    found = dict.fromkeys(each for book in arguments.books for each in sentences(book.read_text(encoding="utf-8")))
    kept = [each for each in found if arguments.shortest <= len(each) <= arguments.longest]
    random.Random(1).shuffle(kept)
    print("\n".join(kept))


if __name__ == "__main__":
    main()
