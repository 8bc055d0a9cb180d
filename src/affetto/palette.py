"""One colour an emotion, wherever emotions are drawn: in figures and on the page."""

from __future__ import annotations

from collections.abc import Sequence

EMOTIONS = {
    "anger": "#c8451b",
    "happiness": "#e8a317",
    "neutral": "#7d8791",
    "sadness": "#1f6fb2",
    "fear": "#4b2070",
    "disgust": "#2e7d4f",
    "surprise": "#eda9cf",
    "boredom": "#8a6d4b",
    "calm": "#6cc5d9",
    "contempt": "#4a4a4a",
    "excited": "#f2cf45",
    "frustration": "#8c1c2f",
    "joy": "#e8a317",
}
"""One colour an emotion, in every picture; after Okabe and Ito's, which the colour-blind can tell apart."""

# For classes that are no emotion listed above, in their order.
OTHERS = ("#4c6b8a", "#b07aa1", "#59a14f", "#9c755f", "#2b8c8c", "#a0a52d")


def colours(classes: Sequence[str]) -> dict[str, str]:
    """The colour of each class: an emotion's own, another's by its place."""
    others = [name for name in classes if name not in EMOTIONS]
    return {name: EMOTIONS.get(name) or OTHERS[others.index(name) % len(OTHERS)] for name in classes}
