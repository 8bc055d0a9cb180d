"""Small words and numbers that several sentences need."""

from __future__ import annotations

import math
from collections.abc import Sequence


def several(count: int, what: str) -> str:
    """A count and what it counts.

    >>> several(1, "fold"), several(4_900, "utterance")
    ('1 fold', '4,900 utterances')
    """
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def named(names: Sequence[str], most: int = 6) -> str:
    """Names as a sentence lists them.

    >>> named(["a"]), named(["a", "b", "c"]), named([*"abcdefgh"], most=3)
    ('a', 'a, b and c', 'a, b, c and 5 more')
    """
    if len(names) > most + 1:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def share(value: float, digits: int = 3) -> str:
    """A number between 0 and 1 without its zero; nothing for what is not a number.

    >>> share(0.5614), share(1.0), share(-0.02)
    ('.561', '1.000', '-.020')
    """
    if math.isnan(value):
        return ""
    text = f"{value + 0.0:.{digits}f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text
