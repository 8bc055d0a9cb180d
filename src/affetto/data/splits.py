"""Training, validation and test parts that never share a speaker.

Nothing in affetto divides data but this file and `affetto.data.protocols`, which makes folds with it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from affetto.data.utterance import Utterance
from affetto.errors import SplitError

PARTS = ("train", "validation", "test")


class Split(NamedTuple):
    """The three parts of a data set, each in the order of the data."""

    train: tuple[Utterance, ...]
    validation: tuple[Utterance, ...]
    test: tuple[Utterance, ...]


def by_speaker(utterance: Utterance) -> str:
    """The group of those who keep speakers apart over several corpora: "corpus/speaker"."""
    return f"{utterance.corpus}/{utterance.speaker}"


def fixed_split(
    utterances: Sequence[Utterance],
    *,
    group: Callable[[Utterance], str],
    validation: Collection[str],
    test: Collection[str],
) -> Split:
    """Puts named groups (speakers, sessions, parts) aside, or raises SplitError; all others are for training."""
    names = _names(utterances, group)
    known, named = set(names), {*validation, *test}
    if unknown := named - known:
        raise SplitError(f"no such group: {listed(unknown)}", f"choose among {listed(known)}")
    if both := set(validation) & set(test):
        raise SplitError(f"{listed(both)} named for both validation and test", "name every group once")
    pairs, parts = list(zip(utterances, names, strict=True)), (known - named, validation, test)
    split = Split(*(tuple(utterance for utterance, name in pairs if name in part) for part in parts))
    for part, some in zip(PARTS, split, strict=True):
        if not some:
            raise SplitError(f"the {part} part is empty", f"leave it a group of {listed(known)}")
    return split


def held_out_groups(
    utterances: Sequence[Utterance], *, group: Callable[[Utterance], str], share: float, seed: int
) -> tuple[list[Utterance], list[Utterance]]:
    """Sets whole groups aside, until about a share of the utterances is held out: what remains, and what is held out.

    Groups queue by a hash of the seed and their name, so that neither the order of the data, nor the machine, nor a
    speaker who joins later reshuffles the others. A group too large for what is still wanted is passed over; at least
    one is held out, and at least one is not. Raises SplitError where the share is not between 0 and 1, or there are
    fewer than two groups.
    """
    if not 0 < share < 1:
        raise SplitError(f"a share of {share} cannot be held out", "give a share between 0 and 1")
    names = _names(utterances, group)
    sizes = Counter(names)
    if len(sizes) < 2:
        raise SplitError(f"{len(sizes)} group(s) cannot be divided", "give utterances of at least two groups")
    held_out = _choose(sizes, share * len(names), seed)
    remaining, chosen = list[Utterance](), list[Utterance]()
    for utterance, name in zip(utterances, names, strict=True):
        (chosen if name in held_out else remaining).append(utterance)
    return remaining, chosen


def check_disjoint(split: Split, group: Callable[[Utterance], str]) -> None:
    """Makes sure that no group is in two parts, or raises SplitError, which names those that are."""
    groups = {part: set(map(group, some)) for part, some in zip(PARTS, split, strict=True)}
    for first, second in combinations(PARTS, 2):
        if leaking := groups[first] & groups[second]:
            problem = f"{listed(leaking)} in both {first} and {second}"
            raise SplitError(problem, "keep every speaker or group in one part")


def _choose(sizes: Mapping[str, int], wanted: float, seed: int) -> set[str]:
    """The groups to hold out: those in the queue that bring the count nearer to what is wanted."""
    queue = sorted(sizes, key=lambda name: hashlib.sha256(json.dumps([seed, name]).encode()).digest())
    chosen, held = set[str](), 0
    for name in queue:
        nearer = abs(held + sizes[name] - wanted) < abs(held - wanted)
        if nearer and len(chosen) < len(queue) - 1:
            chosen.add(name)
            held += sizes[name]
    return chosen or {min(queue, key=sizes.__getitem__)}


def _names(utterances: Sequence[Utterance], group: Callable[[Utterance], str]) -> list[str]:
    names = [group(each) for each in utterances]
    if "" in names:
        without = utterances[names.index("")].id
        raise SplitError("belongs to no group", "group by something that every utterance has", without)
    return names


def listed(names: Collection[str]) -> str:
    """Names for a message, in order, and how many more there are.

    >>> listed(set("abcdefghijkl"))
    'a, b, c, d, e, f, g, h, i, j and 2 more'
    """
    shown = sorted(names)[:10]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
