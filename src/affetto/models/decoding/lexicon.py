"""The words that a search may write, each spelt by the recogniser's alphabet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from affetto.text import Alphabet

LONGEST_WORD = 100
"""Characters of a word; the tree of letters is walked by recursion, so that its depth has to be bounded."""

_MOST_ALIKE = 6
"""Words of the same spelling that flashlight's tree of letters takes."""


class Lexicon(NamedTuple):
    """Words and their spellings.

    Attributes:
        words: as the language model writes them.
        spellings: class numbers of each word's characters.
        left_out: how many words the alphabet cannot spell.
    """

    words: list[str]
    spellings: list[list[int]]
    left_out: int


def spell_words(words: Iterable[str], alphabet: Alphabet) -> Lexicon:
    """Spells words, in the alphabet's case whatever their own.

    Args:
        words: each once, as the language model writes them.
        alphabet: what the recogniser spells.

    >>> lexicon = spell_words(["IT'S", "4", "no", "naïve"], Alphabet())
    >>> lexicon.words, lexicon.spellings[0], lexicon.left_out
    (["IT'S", 'no'], [11, 22, 2, 21], 2)
    """
    symbols = set(alphabet.symbols) - {" "}
    spelt: dict[str, list[int]] = {}
    alike: Counter[str] = Counter()
    count = 0
    for count, word in enumerate(words, start=1):  # noqa: B007  # counted to the last
        forms = (word, word.lower(), word.upper()) if len(word) <= LONGEST_WORD else ()
        form = next((each for each in forms if symbols.issuperset(each)), None)
        if form is not None and alike[form] < _MOST_ALIKE:
            alike[form] += 1
            spelt[word] = alphabet.encode(form)
    return Lexicon(list(spelt), list(spelt.values()), count - len(spelt))
