"""What an utterance counts as, under every policy, by hand-worked ballots and on the real crowd."""

from __future__ import annotations

import logging
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import recall_score

from affetto.data.corpora import open_corpus
from affetto.data.labels import PRESETS, Labelled, Labelling, counts, counts_beside, label
from affetto.data.utterance import Rating, Utterance
from affetto.errors import ConfigError, LabelError

CLASSES = ("anger", "happiness", "neutral", "sadness")
PAIR = ("anger", "sadness")


def _utterance(number: int = 0, **known: Any) -> Utterance:
    return Utterance(id=str(number), audio=Path(f"{number}.wav"), speaker="s", corpus="mine", **known)


def _counts_as(labelling: Labelling, classes: tuple[str, ...] = CLASSES, **known: Any) -> str | None:
    """What one utterance counts as, beside plain ones of every class, without which no set is complete."""
    one = _utterance(**known)
    plain = [
        _utterance(
            number, emotion=each, votes={each: 9}, ratings=tuple(Rating(f"C-E{rater}", (each,)) for rater in range(9))
        )
        for number, each in enumerate(classes, start=1)
    ]
    found = {each.utterance.id: each.utterance.emotion for each in label([one, *plain], labelling, classes)}
    return found.get("0")


def _ratings(*lines: str) -> tuple[Rating, ...]:
    """Of lines such as "C-E1 anger sadness"."""
    return tuple(Rating(line.split()[0], tuple(line.split()[1:])) for line in lines)


@pytest.mark.parametrize(
    ("emotion", "expected"), [("anger", "anger"), ("excited", "happiness"), ("fear", None), (None, None)]
)
def test_given_labels(emotion: str | None, expected: str | None) -> None:
    merging = Labelling(preset="iemocap-5531", check_counts="off")
    assert _counts_as(merging, emotion=emotion) == expected


@pytest.mark.parametrize(
    ("settings", "votes", "expected"),
    [
        ({}, {"anger": 2, "sadness": 1}, "anger"),
        ({}, {"anger": 0, "sadness": 0}, None),
        ({}, {"anger": 2, "fear": 3}, None),
        ({"among": "classes"}, {"anger": 2, "fear": 3}, "anger"),
        ({}, {"anger": 2, "fear": 2}, None),
        ({"ties": "first"}, {"anger": 2, "fear": 2}, "anger"),
        ({"ties": "first"}, {"sadness": 2, "neutral": 2}, "neutral"),
        ({"ties": "first"}, {"fear": 2, "disgust": 2, "anger": 1}, None),
        ({"ties": "given"}, {"sadness": 2, "neutral": 2}, "sadness"),
        ({"ties": "given"}, {"anger": 2, "neutral": 2}, None),
        ({"min_share": 0.6}, {"anger": 3, "fear": 2}, "anger"),
        ({"min_share": 0.1}, {"anger": 1, **{f"e{number}": 1 for number in range(9)}}, None),
        ({"min_share": 0.1, "ties": "first"}, {"anger": 1, **{f"e{number}": 1 for number in range(9)}}, "anger"),
        ({"min_share": 0.61}, {"anger": 3, "fear": 2}, None),
        ({"min_share": 0.61, "among": "classes"}, {"anger": 3, "fear": 2}, "anger"),
        ({"min_agree": 3}, {"anger": 3}, "anger"),
        ({"min_agree": 4}, {"anger": 3}, None),
        ({"max_distinct": 2}, {"anger": 8, "fear": 1}, "anger"),
        ({"max_distinct": 2}, {"anger": 8, "fear": 1, "disgust": 1}, None),
        ({"max_distinct": 2, "among": "classes"}, {"anger": 8, "fear": 1, "disgust": 1}, None),
    ],
)
def test_votes(settings: dict[str, Any], votes: dict[str, int], expected: str | None) -> None:
    assert _counts_as(Labelling(source="votes", **settings), votes=votes, emotion="sadness") == expected


@pytest.mark.parametrize(
    ("merge_when", "expected"),
    [
        ("before", "happiness"),  # 2 + 2 votes against 3
        ("after", "sadness"),  # 3 votes against 2 and 2
    ],
)
def test_merging_before_or_after_the_vote(merge_when: str, expected: str) -> None:
    merging = Labelling.parse({"source": "votes", "merge": {"excited": "happiness"}, "merge_when": merge_when})
    assert _counts_as(merging, votes={"happiness": 2, "excited": 2, "sadness": 3}) == expected


def test_a_tie_of_emotions_that_count_as_one_is_none() -> None:
    merging = Labelling(source="votes", merge={"excited": "happiness"}, merge_when="after")
    assert _counts_as(merging, votes={"happiness": 2, "excited": 2}) == "happiness"


def test_emotions_that_count_as_a_class_are_among_the_classes() -> None:
    merging = Labelling(source="votes", merge={"excited": "happiness"}, merge_when="after", among="classes")
    assert _counts_as(merging, votes={"excited": 2, "anger": 1, "fear": 5}) == "happiness"


@pytest.mark.parametrize(
    ("settings", "lines", "expected"),
    [
        ({}, ["C-E1 anger", "C-E2 anger", "C-F1 sadness"], "anger"),
        ({}, ["C-E1 anger", "C-F1 sadness", "C-M1 sadness"], "sadness"),
        ({"raters": "evaluators"}, ["C-E1 anger", "C-F1 sadness", "C-M1 sadness"], "anger"),
        ({"raters": "evaluators"}, ["C-F1 sadness"], None),
        ({"multi_label": "each"}, ["C-E1 anger neutral", "C-E2 neutral sadness", "C-E3 anger", "C-E4 anger"], "anger"),
        ({"multi_label": "each"}, ["C-E1 anger neutral", "C-E2 neutral sadness", "C-E3 anger"], None),
        ({"multi_label": "first"}, ["C-E1 anger neutral", "C-E2 neutral sadness", "C-E3 anger"], "anger"),
        ({"multi_label": "share"}, ["C-E1 anger neutral", "C-E2 neutral sadness", "C-E3 anger"], "anger"),
        ({"multi_label": "share"}, ["C-E1 anger neutral", "C-E2 anger neutral"], None),
        ({"multi_label": "share", "min_agree": 2}, ["C-E1 anger neutral", "C-E2 anger"], None),
        ({"multi_label": "leave_out"}, ["C-E1 anger neutral", "C-E2 neutral sadness", "C-E3 sadness"], "sadness"),
        ({"multi_label": "leave_out"}, ["C-E1 anger neutral"], None),
        ({"multi_label": "each"}, ["C-E1 anger anger", "C-E2 sadness"], None),
    ],
)
def test_ratings(settings: dict[str, Any], lines: list[str], expected: str | None) -> None:
    assert _counts_as(Labelling(source="ratings", **settings), ratings=_ratings(*lines)) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["C-E1 happiness", "C-E2 excited", "C-E3 neutral"], "happiness"),  # merged before the vote: two agree
        (["C-E1 happiness excited", "C-E2 neutral"], None),  # one evaluator who names both is one who agrees with none
        (["C-E1 happiness", "C-E2 neutral", "C-F1 happiness"], None),  # the actor's own rating does not count
        (["C-E1 anger", "C-E2 anger", "C-E3 frustration neutral"], None),  # three different emotions
        (["C-E1 anger", "C-E2 anger", "C-E3 frustration"], "anger"),
        (["C-E1 frustration", "C-E2 frustration", "C-E3 anger"], None),
        (["C-E1 anger", "C-E2 anger", "C-E3 sadness", "C-E4 sadness"], None),
    ],
)
def test_the_set_of_lakomkin2017(lines: list[str], expected: str | None) -> None:
    paper = Labelling(preset="lakomkin2017", check_counts="off")
    assert _counts_as(paper, ratings=_ratings(*lines)) == expected


def test_soft_targets_are_the_shares_among_the_classes() -> None:
    soft = Labelling(source="votes", soft=True)
    heard = [{"anger": 3, "sadness": 1, "fear": 2}, {"sadness": 5}]
    labelled = label([_utterance(number, votes=votes) for number, votes in enumerate(heard)], soft, PAIR)
    assert [each.shares for each in labelled] == [(0.75, 0.25), (0.0, 1.0)]
    assert [each.utterance.emotion for each in labelled] == ["anger", "sadness"]


@pytest.mark.parametrize("source", ["given", "votes"])
def test_softer_targets_lie_between_the_class_and_the_votes(source: str) -> None:
    heard = [{"anger": 3, "sadness": 1, "fear": 2}, {"anger": 2, "sadness": 1}, {"fear": 5}, {}]
    found = [_utterance(number, votes=votes, emotion="anger") for number, votes in enumerate(heard)]
    found += [_utterance(4, emotion="sadness"), _utterance(5, votes={"sadness": 1}, emotion="sadness")]
    labelled = label(found, Labelling.parse({"source": source, "soft": 0.2}), PAIR)
    by_id = {each.utterance.id: each.shares for each in labelled}
    kept = {"given": list(range(6)), "votes": [0, 1, 5]}[source]  # what nobody voted for has no winner among the votes
    expected = [(0.95, 0.05), (1 - 0.2 / 3, 0.2 / 3), (1, 0), (1, 0), (0, 1), (0, 1)]
    assert by_id == {str(number): pytest.approx(expected[number]) for number in kept}


def test_soft_targets_merge() -> None:
    soft = Labelling(source="votes", soft=True, merge={"rage": "anger"}, merge_when="after")
    heard = [{"anger": 2, "rage": 1, "sadness": 1}, {"sadness": 5}]
    labelled = label([_utterance(number, votes=votes) for number, votes in enumerate(heard)], soft, PAIR)
    assert labelled[0].shares == (0.75, 0.25)


BALLOTS = st.lists(st.dictionaries(st.sampled_from([*CLASSES, "fear", "disgust"]), st.integers(0, 5)), max_size=30)
SETTINGS = st.fixed_dictionaries(
    {
        "among": st.sampled_from(["all", "classes"]),
        "ties": st.sampled_from(["leave_out", "first", "given"]),
        "min_share": st.floats(0, 1),
        "min_agree": st.integers(0, 5),
        "max_distinct": st.integers(0, 6),
        "soft": st.floats(0, 1),
    }
)


@given(ballots=BALLOTS, settings=SETTINGS)
def test_whatever_is_kept_won(ballots: list[dict[str, int]], settings: dict[str, Any]) -> None:
    plain = [{emotion: 5} for emotion in CLASSES]  # so that every class has one
    heard = [_utterance(number, votes=votes, emotion="anger") for number, votes in enumerate([*plain, *ballots])]
    labelled = label(heard, Labelling(source="votes", **settings), CLASSES)
    assert [each.utterance.id for each in labelled] == sorted((each.utterance.id for each in labelled), key=int)
    for each in labelled:
        assert _won(each, settings)


def _won(labelled: Labelled, settings: dict[str, Any]) -> bool:
    """What has to hold of every labelled utterance, said without the code under test."""
    votes = labelled.utterance.votes or {}
    running = votes if settings["among"] == "all" else {name: votes.get(name, 0) for name in CLASSES}
    emotion = labelled.utterance.emotion
    assert emotion in CLASSES
    most = votes[emotion]
    alone = sum(count == most for count in running.values()) == 1
    enough = most >= settings["min_agree"] and most / sum(running.values()) >= settings["min_share"]
    distinct = sum(count > 0 for count in votes.values())
    return (
        most == max(running.values())
        and (alone or settings["ties"] != "leave_out")
        and enough
        and (not settings["max_distinct"] or distinct <= settings["max_distinct"])
        and sum(labelled.shares) == pytest.approx(1)
        and max(labelled.shares) == labelled.shares[CLASSES.index(emotion)]
    )


@given(
    lines=st.lists(
        st.builds(Rating, st.sampled_from(["C-E1", "C-F1"]), st.lists(st.sampled_from([*CLASSES, "fear"])).map(tuple)),
        max_size=6,
    ),
    multi_label=st.sampled_from(["each", "share", "first", "leave_out"]),
)
def test_any_lines_of_raters_can_be_counted(lines: list[Rating], multi_label: str) -> None:
    labelling = Labelling.parse({"source": "ratings", "multi_label": multi_label})
    found = _counts_as(labelling, ratings=tuple(lines))
    assert found is None or any(found in rating.labels for rating in lines)


@pytest.mark.parametrize(
    ("settings", "known", "message"),
    [
        ({}, [{"emotion": "anger"}], "no utterance counts as sadness; choose among what there is, anger \\(1\\)"),
        ({}, [{}], "no utterance has a label; label by another source"),
        ({}, [], "no utterance has a label"),
        ({"source": "votes"}, [{"emotion": "anger"}], "no utterance has votes"),
        ({"source": "ratings"}, [{"emotion": "anger"}], "no utterance has ratings;"),
        (
            {"source": "ratings", "raters": "evaluators"},
            [{"ratings": _ratings("C-F1 anger")}],
            "no utterance has ratings by evaluators",
        ),
        (
            {"merge": {"exited": "happiness"}},
            [{"emotion": "anger"}, {"emotion": "excited"}],
            "nothing to merge: no exited; there are anger \\(1\\), excited \\(1\\)",
        ),
        (
            {"source": "votes", "min_agree": 3},
            [{"votes": {"anger": 3}}, {"votes": {"sadness": 2}}],
            "no utterance counts as sadness; choose among what there is, anger \\(1\\), sadness \\(1\\), or label less",
        ),
    ],
)
def test_says_what_there_is_to_choose_from(settings: dict[str, Any], known: list[dict[str, Any]], message: str) -> None:
    utterances = [_utterance(number, **each) for number, each in enumerate(known)]
    with pytest.raises(LabelError, match=message):
        label(utterances, Labelling.parse(settings), PAIR)


def test_refuses_a_class_named_twice() -> None:
    with pytest.raises(LabelError, match="named twice"):
        label([_utterance(emotion="anger")], Labelling(), ("anger", "anger"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "iemocap"}, "preset: .*'iemocap-5531' or 'lakomkin2017'"),
        ({"preset": 1}, "preset"),
        ({"min_agree": 2}, "min_agree mean nothing where the source is 'given'"),
        ({"source": "votes", "raters": "evaluators"}, "raters mean nothing where the source is 'votes'"),
        ({"soft": 1.5}, "soft"),
        ({"merge": {"excited": "joy", "joy": "happiness"}}, "joy merged and merged into"),
        ({"min_share": 1.5}, "min_share"),
        ({"quorum": 2}, "quorum"),
        ("votes", "valid"),
    ],
)
def test_refuses_settings_that_do_not_fit(settings: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Labelling.parse(settings)


def test_a_recipe_can_change_a_preset() -> None:
    recipe = tomllib.loads('preset = "lakomkin2017"\nraters = "all"\nmax_distinct = 0\n')
    labelling = Labelling.parse(recipe)
    assert (labelling.raters, labelling.max_distinct, labelling.min_agree) == ("all", 0, 2)
    assert labelling.merge == {"excited": "happiness"}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_resolved_labelling_reads_as_itself(preset: str) -> None:
    labelling = Labelling.parse({"preset": preset, "check_counts": "off"})
    assert Labelling.parse(labelling.model_dump(mode="json", exclude_none=True)) == labelling


@cache
def _release(anger: int = 1103) -> list[Utterance]:
    """As many labels as the release has, without a sound."""
    emotions = {"anger": anger, "excited": 1041, "happiness": 595, "neutral": 1708, "sadness": 1084, "frustration": 9}
    return [_utterance(emotion=emotion) for emotion, count in emotions.items() for _ in range(count)]


def test_the_counts_of_the_usual_four_classes(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        labelled = label(_release(), Labelling(preset="iemocap-5531"), CLASSES)
    assert counts(labelled) == {"anger": 1103, "happiness": 1636, "neutral": 1708, "sadness": 1084}
    assert caplog.messages == [
        "iemocap-5531: " + counts_beside(counts(labelled), {}),
        "left out, as none of the classes: frustration 9",
    ]


def test_other_counts_than_published_are_an_error() -> None:
    message = r"iemocap-5531: other counts .*: anger 1,100 \(expected 1,103\), happiness 1,636, .* \(expected 5,531\)"
    with pytest.raises(LabelError, match=message):
        label(_release(1100), Labelling(preset="iemocap-5531"), CLASSES)


@pytest.mark.parametrize(("check", "messages"), [("warn", 1), ("off", 0)])
def test_other_counts_can_be_allowed(check: str, messages: int, caplog: pytest.LogCaptureFixture) -> None:
    labelling = Labelling.parse({"preset": "iemocap-5531", "check_counts": check})
    assert counts(label(_release(1100), labelling, CLASSES))["anger"] == 1100
    *others, left_out = caplog.messages
    assert left_out == "left out, as none of the classes: frustration 9"
    assert ["expected 1,103" in message for message in others] == [True] * messages


def test_some_of_the_expected_classes_are_checked_alone() -> None:
    assert len(label(_release(), Labelling(preset="iemocap-5531"), PAIR)) == 1103 + 1084


def test_nothing_of_a_preset_has_to_be_merged() -> None:
    utterances = [_utterance(emotion="anger"), _utterance(emotion="sadness")]
    assert len(label(utterances, Labelling(preset="iemocap-5531", check_counts="off"), PAIR)) == 2


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_sum_up_to_what_is_published(preset: str) -> None:
    published = {"iemocap-5531": 5531, "lakomkin2017": 6416}
    assert sum(Labelling.parse({"preset": preset}).expected.values()) == published[preset]


@pytest.fixture(scope="module")
def crema_d(data_root: Path) -> tuple[Utterance, ...]:
    return open_corpus(data_root / "crema-d").utterances


def test_real_intentions(crema_d: tuple[Utterance, ...]) -> None:
    found = counts(label(crema_d, Labelling(), CLASSES))
    assert found == {"anger": 1271, "happiness": 1271, "neutral": 1087, "sadness": 1271}


def test_what_the_crowd_rates_against_the_intention(crema_d: tuple[Utterance, ...]) -> None:
    """The majority among the four classes, of those clips that are meant as one of them."""
    meant = {each.id: each.emotion for each in crema_d if each.emotion in CLASSES}
    crowd = Labelling(source="votes", among="classes", ties="first")
    heard = {each.utterance.id: each.utterance.emotion for each in label(crema_d, crowd, CLASSES)}
    both = sorted(meant.keys() & heard.keys())
    recalls = recall_score([meant[name] for name in both], [heard[name] for name in both], labels=CLASSES, average=None)
    assert len(both) == 4898  # nobody heard one of the four in two clips
    assert recalls.mean() == pytest.approx(0.573, abs=0.0005)
    assert recalls.tolist() == pytest.approx([0.76, 0.35, 0.98, 0.20], abs=0.005)


def test_what_is_left_out_is_counted_by_label(caplog: pytest.LogCaptureFixture) -> None:
    labels = ["anger", "sadness", "fear", "fear", None]
    clips = [
        Utterance(id=str(place), audio=Path("a.wav"), speaker="ann", corpus="mine", emotion=each)
        for place, each in enumerate(labels)
    ]
    with caplog.at_level("WARNING"):
        label(clips, Labelling(), ("anger", "sadness"))
    assert [each.message for each in caplog.records] == ["left out, as none of the classes: fear 2, without a label 1"]
