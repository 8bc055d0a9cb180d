"""Which emotion an utterance counts as: the corpus's label, the crowd's votes, or what each rater chose.

Published results differ as much by this policy as by their models, so every step of it is a setting, and the sets that
people compare on have names (`PRESETS`).
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, model_validator

from affetto.config import Config
from affetto.data.utterance import Rating, Utterance
from affetto.errors import LabelError

logger = logging.getLogger(__name__)

Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]

UNLABELLED = "without a label"

EVALUATORS = "C-E"
"""How the names of IEMOCAP's outside evaluators begin; the actors who rate themselves are C-F and C-M."""

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        # The set that most papers on IEMOCAP report: the release's own majority, excited counted as happiness after it.
        "iemocap-5531": {
            "source": "given",
            "merge": {"excited": "happiness"},
            "expected": {"anger": 1103, "happiness": 1636, "neutral": 1708, "sadness": 1084},
            "check_counts": "error",
        },
        # Lakomkin et al. (2017), section 3.2.1. Nearly 2,500 utterances are happy only if excited counts as happiness
        # before the vote. Which raters count, and how several labels of one rater do, the paper does not say.
        "lakomkin2017": {
            "source": "ratings",
            "raters": "evaluators",
            "multi_label": "each",
            "merge": {"excited": "happiness"},
            "merge_when": "before",
            "min_agree": 2,
            "max_distinct": 2,
            "expected": {"anger": 1104, "happiness": 2496, "neutral": 1752, "sadness": 1064},
            "check_counts": "warn",
        },
    }
)
"""Name -> settings of a published set; a recipe may name one and change some of its settings."""

_OF_VOTING = ("merge_when", "among", "ties", "min_share", "min_agree", "max_distinct")
_OF_RATINGS = ("raters", "multi_label")
_IDLE = {"given": (*_OF_VOTING, *_OF_RATINGS), "votes": _OF_RATINGS, "ratings": ()}
"""Source -> settings that mean nothing to it."""


class Labelling(Config):
    """Which emotion an utterance counts as.

    >>> Labelling(preset="lakomkin2017", raters="all").min_agree
    2
    """

    # a published set, whose settings hold where no other is given; see `PRESETS`
    preset: Literal["iemocap-5531", "lakomkin2017"] | None = None
    # "given", the label that the corpus gives; "votes", the emotion that most of the crowd chose; "ratings", the one
    # that most of the raters chose, whose lines are known one by one
    source: Literal["given", "votes", "ratings"] = "given"
    merge: dict[str, str] = Field(default_factory=dict)  # emotion -> the one it counts as ({excited = "happiness"})
    # whether votes for merged emotions count as one "before" the winner is found, or only the winner is renamed "after"
    merge_when: Literal["before", "after"] = "before"
    # "all", every emotion competes, and an utterance that another one wins is left out; "classes", votes for emotions
    # outside the classes do not count
    among: Literal["all", "classes"] = "all"
    # "leave_out"; "first", the tied emotion that stands first among the classes wins; "given", the corpus's label wins
    # if it is one of them, and the utterance is left out if not
    ties: Literal["leave_out", "first", "given"] = "leave_out"
    min_share: Share = 0.0  # the least share of the votes that count which the winner needs
    min_agree: Count = 1  # the least number of votes that the winner needs
    # an utterance is left out for which more emotions than this were chosen, within the classes or not; 0 is no limit
    max_distinct: Count = 0
    # how much of each target the votes for the classes have, by their shares, rather than the class that it counts as
    soft: Share = 0.0
    raters: Literal["all", "evaluators"] = "all"  # "all" of them, or the outside "evaluators" only (IEMOCAP's ``C-E*``)
    # how several emotions that one rater chose count: "each" as a vote, "share" as parts of one vote, the "first" only,
    # or not at all ("leave_out")
    multi_label: Literal["each", "share", "first", "leave_out"] = "each"
    expected: dict[str, Count] = Field(default_factory=dict)  # class -> how many utterances a published set has
    # whether other numbers than the expected ones are an "error", a warning ("warn") or neither ("off"), as for another
    # release or a part of it
    check_counts: Literal["error", "warn", "off"] = "error"

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, values: Any) -> Any:
        name = values.get("preset") if isinstance(values, dict) else None
        return {**PRESETS[name], **values} if isinstance(name, str) and name in PRESETS else values

    @model_validator(mode="after")
    def _check(self) -> Labelling:
        fields = type(self).model_fields
        idle = [name for name in _IDLE[self.source] if getattr(self, name) != fields[name].default]
        if idle:
            raise ValueError(f"{', '.join(idle)} mean nothing where the source is {self.source!r}")
        chained = sorted(set(self.merge) & set(self.merge.values()))
        if chained:
            raise ValueError(f"{', '.join(chained)} merged and merged into; merge into the last straight away")
        return self


class Labelled(NamedTuple):
    """An utterance, whose emotion is the class that it is scored as, and how much of the target each class has.

    These shares, (classes,), are 1 together; one class has all unless labels are soft.
    """

    utterance: Utterance
    shares: tuple[float, ...]


def label(
    utterances: Sequence[Utterance], labelling: Labelling, classes: Sequence[str], *, some: bool = False
) -> list[Labelled]:
    """Decides which class each utterance counts as; those that count as none are left out, and counted in a warning.

    Some of the classes are enough in one corpus of several (``some``); a warning names those that are missing.

    Raises LabelError where a class is named twice, no utterance counts as one of them (as any, where some are enough),
    an emotion to merge is unknown, or there are not as many utterances as there should be.

    >>> from pathlib import Path
    >>> votes = {"anger": 3, "sadness": 1}
    >>> clips = [Utterance(id=name, audio=Path(name), speaker="a", corpus="c", votes=votes) for name in ("x", "y")]
    >>> clips[1] = replace(clips[1], votes={"sadness": 2})
    >>> [each.shares for each in label(clips, Labelling(source="votes", soft=True), ("anger", "sadness"))]
    [(0.75, 0.25), (0.0, 1.0)]
    """
    if len(set(classes)) != len(classes):
        raise LabelError(f"a class is named twice: {', '.join(classes)}", "name each once")
    _check_known(utterances, labelling)
    merge = labelling.merge if labelling.merge_when == "before" else {}
    ballots = [_votes(utterance, labelling, merge) for utterance in utterances]
    labelled, left_out = list[Labelled](), Counter[str]()
    for utterance, votes in zip(utterances, ballots, strict=True):
        emotion = _winner(votes, utterance.emotion, labelling, classes)
        if emotion is None or emotion not in classes:
            left_out[utterance.emotion or UNLABELLED] += 1
            continue
        cast = (utterance.votes or {}) if labelling.source == "given" else votes
        shares = _shares(cast, labelling.merge, emotion, classes)
        targets = tuple(
            (1 - labelling.soft) * (name == emotion) + labelling.soft * share
            for name, share in zip(classes, shares, strict=True)
        )
        labelled.append(Labelled(replace(utterance, emotion=emotion), targets))
    found = counts(labelled)
    missing = [emotion for emotion in classes if emotion not in found]
    if missing and found and some:
        logger.warning("no utterance of %s counts as %s", utterances[0].corpus, ", ".join(missing))
    elif missing:
        remedy = f"choose among what there is, {_known(ballots, labelling.merge)}, or label less strictly"
        raise LabelError(f"no utterance counts as {', '.join(missing)}", remedy)
    _check_expected(found, labelling)
    if left_out:
        shown = ", ".join(f"{name} {count:,}" for name, count in sorted(left_out.items()))
        logger.warning("left out, as none of the classes: %s", shown)
    return labelled


def counts(labelled: Sequence[Labelled]) -> dict[str, int]:
    """How many utterances count as each class, by name."""
    return dict(sorted(Counter(each.utterance.emotion or "" for each in labelled).items()))


def counts_beside(found: Mapping[str, int], expected: Mapping[str, int]) -> str:
    """Counts in one line, with those that were expected where others were found.

    >>> counts_beside({"anger": 1103, "sadness": 1080}, {"anger": 1103, "sadness": 1084})
    'anger 1,103, sadness 1,080 (expected 1,084), together 2,183 (expected 2,187)'
    """
    rows = [(emotion, count, expected.get(emotion, count)) for emotion, count in found.items()]
    rows.append(("together", sum(found.values()), sum(wanted for *_, wanted in rows)))
    return ", ".join(
        f"{name} {count:,}" + ("" if count == wanted else f" (expected {wanted:,})") for name, count, wanted in rows
    )


def _votes(utterance: Utterance, labelling: Labelling, merge: Mapping[str, str]) -> dict[str, Fraction]:
    """Emotion -> votes that count, only where there are some."""
    if labelling.source == "given":
        cast = [] if utterance.emotion is None else [(utterance.emotion, Fraction(1))]
    elif labelling.source == "votes":
        cast = [(emotion, Fraction(count)) for emotion, count in (utterance.votes or {}).items()]
    else:
        cast = [vote for rating in utterance.ratings for vote in _cast(rating, labelling, merge)]
    return _summed(cast, merge)


def _cast(rating: Rating, labelling: Labelling, merge: Mapping[str, str]) -> list[tuple[str, Fraction]]:
    """A rater's votes; two emotions that count as one are one vote."""
    if labelling.raters == "evaluators" and not rating.rater.startswith(EVALUATORS):
        return []
    chosen = list(dict.fromkeys(merge.get(emotion, emotion) for emotion in rating.labels))
    if labelling.multi_label == "leave_out" and len(chosen) > 1:
        return []
    weight = Fraction(1, max(1, len(chosen)) if labelling.multi_label == "share" else 1)
    return [(emotion, weight) for emotion in (chosen[:1] if labelling.multi_label == "first" else chosen)]


def _summed(votes: Iterable[tuple[str, Fraction | int]], merge: Mapping[str, str]) -> dict[str, Fraction]:
    """Emotion, as it counts -> votes, where there are some."""
    totals = defaultdict[str, Fraction](Fraction)
    for emotion, count in votes:
        totals[merge.get(emotion, emotion)] += count
    return {emotion: count for emotion, count in totals.items() if count}


def _winner(
    votes: Mapping[str, Fraction], given: str | None, labelling: Labelling, classes: Sequence[str]
) -> str | None:
    """The emotion that an utterance counts as, in the names that merging gives; None where there is none."""
    merge = labelling.merge
    if labelling.max_distinct and len(votes) > labelling.max_distinct:
        return None
    everyone = labelling.among == "all"
    running = {name: count for name, count in votes.items() if everyone or merge.get(name, name) in classes}
    if not running:
        return None
    most = max(running.values())
    # Votes count exactly, as fractions; the share is rounded as the setting that it is compared with was.
    if most < labelling.min_agree or float(most / sum(running.values())) < labelling.min_share:
        return None
    tied = {merge.get(name, name) for name, count in running.items() if count == most}
    if len(tied) == 1:
        return tied.pop()
    if labelling.ties == "first":
        return next((emotion for emotion in classes if emotion in tied), None)
    own = merge.get(given or "", given)
    return own if labelling.ties == "given" and own in tied else None


def _shares(
    votes: Mapping[str, Fraction] | Mapping[str, int], merge: Mapping[str, str], emotion: str, classes: Sequence[str]
) -> tuple[float, ...]:
    """The share of each class in the votes for all of them; the one that it counts as has all where there are none."""
    merged = _summed(votes.items(), merge)
    counted = [merged.get(name, Fraction(0)) for name in classes]
    if not any(counted):
        counted = [Fraction(name == emotion) for name in classes]
    return tuple(float(count / sum(counted)) for count in counted)


def _check_known(utterances: Sequence[Utterance], labelling: Labelling) -> None:
    """There is something to label by, and what is to be merged is there; not all of a preset's needs to be."""
    ballots = [_votes(utterance, labelling, {}) for utterance in utterances]
    if not any(ballots):
        what = {"given": "a label", "votes": "votes", "ratings": "ratings"}[labelling.source]
        by = " by evaluators" if labelling.raters == "evaluators" else ""
        raise LabelError(f"no utterance has {what}{by}", "label by another source, or give a corpus that has them")
    known = {name for votes in ballots for name in votes}
    preset = PRESETS[labelling.preset]["merge"] if labelling.preset else {}
    unknown = sorted(set(labelling.merge) - known - set(preset))
    if unknown:
        raise LabelError(f"nothing to merge: no {', '.join(unknown)}", f"there are {_known(ballots, {})}")


def _check_expected(found: Mapping[str, int], labelling: Labelling) -> None:
    """A class that is not expected in any number is not compared."""
    if labelling.check_counts == "off" or not labelling.expected:
        return
    differs = any(labelling.expected.get(emotion, count) != count for emotion, count in found.items())
    shown = counts_beside(found, labelling.expected)
    if differs and labelling.check_counts == "error":
        remedy = 'look for what is missing; check_counts = "warn" goes on with another release or a part of it'
        raise LabelError(f"other counts than published: {shown}", remedy, labelling.preset)
    logger.log(logging.WARNING if differs else logging.INFO, "%s: %s", labelling.preset or "labels", shown)


def _known(ballots: Sequence[Mapping[str, Fraction]], merge: Mapping[str, str]) -> str:
    """Every emotion that was chosen, as it counts, and for how many utterances."""
    chosen = Counter(name for votes in ballots for name in {merge.get(emotion, emotion) for emotion in votes})
    return ", ".join(f"{name} ({count:,})" for name, count in sorted(chosen.items()))
