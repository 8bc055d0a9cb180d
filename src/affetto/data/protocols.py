"""Which groups train, validate and test in each fold, as published protocols have it, and the folds that follow.

A group is what must stay whole: a speaker, mostly. What tests never validates, what validates never trains.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from affetto.config import Config
from affetto.data.folds import By, full_name, known_names, resolve
from affetto.data.splits import PARTS, Split, by_speaker, check_disjoint, fixed_split, held_out_groups, listed
from affetto.data.utterance import Utterance
from affetto.errors import SplitError

Group = Callable[[Utterance], str]
Share = Annotated[float, Field(gt=0, lt=1)]


class LeaveOneSpeakerOut(Config):
    """Each group is tested once, alone (Lakomkin et al., 2017, section 3.2.1)."""

    kind: Literal["leave_one_speaker_out"] = "leave_one_speaker_out"
    # "partner", the one other speaker of the tested speaker's session, as in the paper; those who have none or several
    # are validated as by "next", those who follow by name, after the last the first
    validation: Literal["partner", "next"] = "partner"
    validation_speakers: Annotated[int, Field(ge=1)] = 1  # how many follow


class LeaveOneSessionOut(Config):
    """Each session is tested once, with all its speakers."""

    kind: Literal["leave_one_session_out"] = "leave_one_session_out"
    # "next", the session that follows by name, after the last the first; "share", some groups of all the other sessions
    validation: Literal["next", "share"] = "next"
    validation_share: Share = 0.2  # about how much of the other sessions' utterances those groups have


class LeaveOneCorpusOut(Config):
    """Each corpus is tested once, by what was trained and validated on the others.

    About a share of the other corpora's utterances is held out, in whole groups, to validate on.
    """

    kind: Literal["leave_one_corpus_out"] = "leave_one_corpus_out"
    validation_share: Share = 0.2  # that share


class GroupedKFold(Config):
    """Groups in folds of about one size and the same shares of classes; the fold after the tested one validates."""

    kind: Literal["grouped_k_fold"] = "grouped_k_fold"
    folds: Annotated[int, Field(ge=3)] = 10  # how many


class FixedSplit(Config):
    """One fold, whose parts have names."""

    kind: Literal["fixed"] = "fixed"
    # what the names are of: speakers, sessions, the corpus's official parts ("partition"), or whole corpora, by their
    # own names ("corpus"). A speaker or session is written corpus/name where two corpora have one of that name
    by: By = "speaker"
    validation: tuple[str, ...] = ()  # who validates; none where a share does
    test: Annotated[tuple[str, ...], Field(min_length=1)]  # who is tested
    # about how much of what is not tested is held out, in whole groups, to validate on, where a corpus has no part for
    # that
    validation_share: Share | None = None

    @model_validator(mode="after")
    def _one_way_to_validate(self) -> FixedSplit:
        if bool(self.validation) == (self.validation_share is not None):
            raise ValueError("give either validation or validation_share")
        return self


Protocol = Annotated[
    LeaveOneSpeakerOut | LeaveOneSessionOut | LeaveOneCorpusOut | GroupedKFold | FixedSplit, Field(discriminator="kind")
]
"""What a recipe chooses from, by ``kind``."""


class Missing(NamedTuple):
    """Emotions that a part of a fold, numbered from 0, has no utterance of."""

    fold: int
    part: str
    emotions: tuple[str, ...]


class _Plan(NamedTuple):
    """Which units (groups, sessions or official parts) validate, or how much does, and which are tested."""

    unit: Group
    validation: set[str] | float
    test: set[str]


def by_session(utterance: Utterance) -> str:
    """The group of those who keep whole sessions apart: "corpus/session"; "" where there is none."""
    return full_name(utterance, "session")


def make_folds(
    utterances: Sequence[Utterance], protocol: Protocol, *, group: Group, seed: int, labelled: bool = True
) -> list[Split]:
    """Divides the data into folds, and makes sure that they are what they should be.

    Utterances, each with the emotion that it counts as unless they are not ``labelled``, are in the same parts in
    whatever order. A group is never divided, see `by_speaker` and `by_session`; another seed finds other folds, where
    there is a choice. Every utterance is tested in exactly one fold, unless the protocol is a fixed split.

    Raises SplitError where there are too few groups, an utterance has no group, id or session of its own, a speaker
    would be in two parts, a part would be empty, or there would be a single emotion to train on.

    >>> from pathlib import Path
    >>> spoken = [("ann", "anger"), ("ann", "joy"), ("bob", "anger"), ("bob", "joy"), ("cai", "anger"), ("cai", "joy")]
    >>> data = [
    ...     Utterance(id=str(place), audio=Path("a.wav"), speaker=speaker, corpus="mine", emotion=emotion)
    ...     for place, (speaker, emotion) in enumerate(spoken)
    ... ]
    >>> folds = make_folds(data, LeaveOneSpeakerOut(), group=by_speaker, seed=0)
    >>> [(fold.train[0].speaker, fold.validation[0].speaker, fold.test[0].speaker) for fold in folds]
    [('cai', 'bob', 'ann'), ('ann', 'cai', 'bob'), ('bob', 'ann', 'cai')]
    """
    _check_utterances(utterances, group, labelled)
    folds = []
    for number, plan in enumerate(_plans(utterances, protocol, group, seed)):
        try:
            split = _split(utterances, plan, group, seed)
            check_disjoint(split, group)
            check_disjoint(split, by_speaker)
            emotions = {each.emotion for each in split.train}
            if labelled and len(emotions) < 2:
                raise SplitError(f"only {emotions.pop()} to train on", "divide otherwise, or label more utterances")
        except SplitError as error:
            raise SplitError(error.problem, error.remedy, f"fold {number}") from error
        folds.append(split)
    tested = Counter(each.key for fold in folds for each in fold.test)
    wrong = [each.id for each in utterances if tested[each.key] != 1]
    if wrong and not isinstance(protocol, FixedSplit):
        raise SplitError(f"{len(wrong)} utterance(s) not tested once", "report this: no protocol does that", wrong[0])
    return folds


def missing_emotions(folds: Sequence[Split]) -> list[Missing]:
    """Which emotions some part has no utterance of: their recall is not known there, or they are not trained on."""
    parts = [(number, part, some) for number, split in enumerate(folds) for part, some in split._asdict().items()]
    found = {(number, part): {each.emotion for each in some if each.emotion} for number, part, some in parts}
    every = set().union(*found.values())
    return [Missing(*place, tuple(sorted(every - some))) for place, some in found.items() if every - some]


def _plans(utterances: Sequence[Utterance], protocol: Protocol, group: Group, seed: int) -> list[_Plan]:
    """Who validates and who is tested in each fold."""
    match protocol:
        case LeaveOneSpeakerOut():
            return _speakers_out(utterances, protocol, group)
        case LeaveOneSessionOut():
            return _sessions_out(utterances, protocol)
        case LeaveOneCorpusOut():
            names = sorted({each.corpus for each in utterances})
            if len(names) < 2:
                problem = f"all utterances are of {listed(names)}"
                raise SplitError(problem, "name several corpora, or leave out speakers")
            return [_Plan(partial(full_name, of="corpus"), protocol.validation_share, {name}) for name in names]
        case GroupedKFold():
            return _each_followed(group, _balanced(utterances, protocol.folds, group, seed))
        case FixedSplit():
            known = known_names(utterances, protocol.by)
            validation, test = (resolve(names, known, protocol.by) for names in (protocol.validation, protocol.test))
            return [_Plan(partial(full_name, of=protocol.by), protocol.validation_share or validation, test)]


def _speakers_out(utterances: Sequence[Utterance], protocol: LeaveOneSpeakerOut, group: Group) -> list[_Plan]:
    names = sorted({group(each) for each in utterances})
    _check_enough(names, "group")
    sessions: dict[str, set[str]] = {}
    for each in utterances:
        sessions.setdefault(by_session(each), set()).add(group(each))
    sessions.pop("", None)
    plans = []
    for place, name in enumerate(names):
        partners = set().union(*(members for members in sessions.values() if name in members)) - {name}
        followers = [*names[place + 1 :], *names[:place]][: protocol.validation_speakers]
        paired = protocol.validation == "partner" and len(partners) == 1
        plans.append(_Plan(group, partners if paired else set(followers), {name}))
    return plans


def _sessions_out(utterances: Sequence[Utterance], protocol: LeaveOneSessionOut) -> list[_Plan]:
    without = next((each.id for each in utterances if not by_session(each)), None)
    if without is not None:
        raise SplitError("belongs to no session", "leave out speakers, or give a corpus that has sessions", without)
    tests = [{name} for name in sorted({by_session(each) for each in utterances})]
    if protocol.validation == "share":
        return [_Plan(by_session, protocol.validation_share, test) for test in tests]
    _check_enough(tests, "session")
    return _each_followed(by_session, tests)


def _each_followed(unit: Group, tests: list[set[str]]) -> list[_Plan]:
    """What follows each validates, and the first after the last."""
    return [_Plan(unit, following, test) for test, following in zip(tests, [*tests[1:], *tests[:1]], strict=True)]


def _balanced(utterances: Sequence[Utterance], folds: int, group: Group, seed: int) -> list[set[str]]:
    """The groups of each fold, by scikit-learn's StratifiedGroupKFold."""
    from sklearn.model_selection import StratifiedGroupKFold

    # Numbers instead of names, since numpy takes two that differ in zero bytes at the end for one.
    names, groups = _numbered([group(each) for each in utterances])
    _, emotions = _numbered([each.emotion or "" for each in utterances])
    if folds > len(names):
        raise SplitError(f"{folds} folds of {len(names)} group(s)", "ask for at most as many folds as there are groups")
    divider = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of rare classes; `missing_emotions` says where they are missing
        try:
            tests = [test.tolist() for _, test in divider.split(emotions, emotions, groups)]
        except ValueError as error:  # every emotion has fewer utterances than there are folds
            raise SplitError(str(error), "ask for fewer folds") from error
    return [{names[groups[place]] for place in test} for test in tests]


def _numbered(values: Sequence[str]) -> tuple[list[str], list[int]]:
    """The different values in order, and the place of each value among them."""
    names = sorted(set(values))
    places = {name: place for place, name in enumerate(names)}
    return names, [places[value] for value in values]


def _split(utterances: Sequence[Utterance], plan: _Plan, group: Group, seed: int) -> Split:
    if isinstance(plan.validation, set):
        return fixed_split(utterances, group=plan.unit, validation=plan.validation, test=plan.test)
    rest = [each for each in utterances if plan.unit(each) not in plan.test]
    train, validation = held_out_groups(rest, group=group, share=plan.validation, seed=seed)
    return Split(tuple(train), tuple(validation), tuple(each for each in utterances if plan.unit(each) in plan.test))


def _check_utterances(utterances: Sequence[Utterance], group: Group, labelled: bool) -> None:
    """Every utterance is another one, has an emotion if all are labelled, and no group mixes people of two corpora."""
    corpora: dict[str, str] = {}
    for each in utterances:
        name = group(each)
        if not name:
            raise SplitError("belongs to no group", "group by something that every utterance has", each.id)
        if labelled and each.emotion is None:
            raise SplitError("has no emotion", "label the utterances first, and leave out those without", each.id)
        if corpora.setdefault(name, each.corpus) != each.corpus:
            problem = f"the group {name!r} is of {each.corpus} and of {corpora[name]}"
            raise SplitError(problem, "group by corpus and speaker, so that people of one name stay two", each.id)
    (used, times), *_ = Counter(each.key for each in utterances).most_common(1) or [(("", ""), 0)]
    if times != 1:
        problem = f"there {times} times" if times else "no utterances"
        raise SplitError(problem, "give every utterance once, with an id of its own", "/".join(used) if times else None)


def _check_enough(units: Sequence[object], what: str) -> None:
    if len(units) < len(PARTS):
        problem = f"{len(units)} {what}(s) cannot train, validate and test"
        raise SplitError(problem, f"give utterances of at least {len(PARTS)}, or divide otherwise")
