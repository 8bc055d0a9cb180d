"""What is written is read back, by programs that are not ours, as it was meant."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import srt
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st
from praatio import textgrid

from affetto.cli.recognise import Format
from affetto.formats import FORMATS
from affetto.formats.timed import spans
from affetto.recording import Recording, Segment, Word, join_segments
from affetto.timeline import Judgement

EMOTIONS = ("anger", "neutral", "sadness")
SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "output.schema.json").read_text(encoding="utf-8"))
ROW = {"anger": 0.7, "neutral": 0.2, "sadness": 0.1}

LONG = " ".join(["where have you been all these days"] * 5)
SPOKEN = Segment(0.0, 1.0, "oh no", "anger", ROW, words=(Word("oh", 0.1, 0.3, 0.9), Word("no", 0.3, 0.8, 0.7)))

words = st.text("abcdefghijklmnopqrstuvwxyz' ", max_size=120).map(lambda text: " ".join(text.split()))


@st.composite
def recordings(draw: st.DrawFn) -> Recording:
    segments, time_s = [], 0.0
    for _ in range(draw(st.integers(1, 6))):
        start_s = time_s + draw(st.sampled_from([0.0, 0.0005, 0.41, 3.3, 4000.25]))
        time_s = start_s + draw(st.floats(0.15, 15))
        weights = np.array([draw(st.floats(0.01, 1)) for _ in EMOTIONS])
        row = dict(zip(EMOTIONS, (weights / weights.sum()).tolist(), strict=True))
        segments.append(Segment(start_s, time_s, draw(words), max(row, key=row.__getitem__), row))
    if draw(st.booleans()):
        segments = [replace(each, dimensions={"valence": draw(st.floats(-5, 5)), "arousal": 1.0}) for each in segments]
    rest_s = draw(st.sampled_from([0.0, 2.0]))
    return join_segments("a.wav", time_s + rest_s, segments, Judgement(sure=draw(st.floats(0, 1))))


def nobody(silent: bool = False) -> Recording:
    nothing = dict.fromkeys(EMOTIONS, 0.0)
    return Recording("rain.wav", 3.0, (), None, nothing, "", False, nothing, 0.0, silent)


def shown(segment: Segment) -> str:
    return f"[{segment.statement}] {segment.transcript}".strip()


@settings(max_examples=40)
@given(recordings())
def test_webvtt_is_read_back(recording: Recording) -> None:
    captions = webvtt.from_string(FORMATS["vtt"].write(recording)).captions
    assert [" ".join(caption.text.split()) for caption in captions] == [shown(each) for each in recording.segments]
    times = [(caption.start_in_seconds, caption.end_in_seconds) for caption in captions]
    np.testing.assert_allclose(times, [(each.start_s, each.end_s) for each in recording.segments], atol=1.0)
    clocks = [(caption.start, caption.end) for caption in captions]
    np.testing.assert_allclose(
        [[seconds(clock) for clock in pair] for pair in clocks],
        [(each.start_s, each.end_s) for each in recording.segments],
        atol=6e-4,
    )


def seconds(clock: str) -> float:
    hours, minutes, rest = clock.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(rest)


@settings(max_examples=40)
@given(recordings())
def test_srt_is_read_back(recording: Recording) -> None:
    cues = list(srt.parse(FORMATS["srt"].write(recording)))
    assert [cue.index for cue in cues] == list(range(1, len(recording.segments) + 1))
    assert [" ".join(cue.content.split()) for cue in cues] == [shown(each) for each in recording.segments]
    times = [(cue.start.total_seconds(), cue.end.total_seconds()) for cue in cues]
    np.testing.assert_allclose(times, [(each.start_s, each.end_s) for each in recording.segments], atol=6e-4)


@pytest.mark.parametrize("format_", ["vtt", "srt"])
def test_subtitles_fit_the_screen(format_: str) -> None:
    segment = Segment(0.0, 9.0, "so many words " * 12, "anger", ROW)
    assert max(map(len, FORMATS[format_].write(join_segments("a.wav", 9.0, [segment])).splitlines())) <= 42


@pytest.mark.parametrize("format_", ["vtt", "srt"])
def test_many_words_are_written_in_several_cues(format_: str) -> None:
    said = [Word(f"word{place}", 0.5 * place + 0.1, 0.5 * place + 0.4, 0.9) for place in range(24)]
    text = " ".join(word.text for word in said)
    content = FORMATS[format_].write(
        join_segments("a.wav", 12.5, [Segment(0.0, 12.2, text, "anger", ROW, words=tuple(said))])
    )
    if format_ == "srt":
        cues = [(cue.start.total_seconds(), cue.end.total_seconds(), cue.content) for cue in srt.parse(content)]
    else:
        cues = [(seconds(cue.start), seconds(cue.end), cue.text) for cue in webvtt.from_string(content).captions]
    assert len(cues) > 2
    assert all(cue.count("\n") < 2 and cue.startswith("[anger] ") for _, _, cue in cues)
    assert " ".join(" ".join(cue.split()[1:]) for _, _, cue in cues) == text
    first = [next(word for word in said if word.text == cue.split()[1]) for _, _, cue in cues]
    assert [start for start, _, _ in cues] == pytest.approx([0.0, *(word.start_s for word in first[1:])])
    assert [end for _, end, _ in cues] == pytest.approx([*(start for start, _, _ in cues[1:]), 12.2])


def test_webvtt_escapes_markup() -> None:
    segment = Segment(0.0, 1.0, "a < b --> c & d", "anger", {"anger": 1.0})
    (caption,) = webvtt.from_string(FORMATS["vtt"].write(join_segments("a.wav", 1.0, [segment]))).captions
    assert "-->" not in caption.raw_text
    assert caption.text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == "[anger] a < b --> c & d"


@settings(max_examples=40)
@given(recording=recordings())
def test_textgrids_are_read_back(recording: Recording, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("praat") / "a.TextGrid"
    path.write_text(FORMATS["textgrid"].write(recording), encoding="utf-8")
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True, reportingMode="error")
    assert grid.tierNames == ("emotion", "probability", "words")
    assert (grid.minTimestamp, grid.maxTimestamp) == pytest.approx((0, recording.duration_s), abs=1e-5)
    for name in grid.tierNames:
        entries = grid.getTier(name).entries
        assert (entries[0].start, entries[-1].end) == pytest.approx((0, recording.duration_s), abs=1e-5)
        assert [entry.start for entry in entries[1:]] == [entry.end for entry in entries[:-1]]
    told = [entry for entry in grid.getTier("emotion").entries if entry.label]
    assert [entry.label for entry in told] == [each.statement for each in recording.segments]
    times = [(each.start_s, each.end_s) for each in recording.segments]
    np.testing.assert_allclose([(entry.start, entry.end) for entry in told], times, atol=1e-5)
    said = [entry.label for entry in grid.getTier("words").entries if entry.label]
    assert said == [each.transcript for each in recording.segments if each.transcript]


def test_textgrids_tell_when_each_word_was_said(tmp_path: Path) -> None:
    path = tmp_path / "a.TextGrid"
    path.write_text(FORMATS["textgrid"].write(join_segments("a.wav", 1.0, [SPOKEN])), encoding="utf-8")
    tier = textgrid.openTextgrid(str(path), includeEmptyIntervals=False).getTier("words")
    assert [tuple(entry) for entry in tier.entries] == [(0.1, 0.3, "oh"), (0.3, 0.8, "no")]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (((0.1, 0.3), (0.3, 0.8), (0.8, 0.8)), [(0.1, 0.3, "oh"), (0.3, 0.8, "no no")]),
        (((0.0, 0.0), (0.1, 0.3), (0.3, 0.8)), [(0.1, 0.3, "oh no"), (0.3, 0.8, "no")]),
        (((0.0, 0.0), (0.0, 0.0), (0.0, 0.3)), [(0.0, 0.3, "oh no no")]),
        (((0.0, 0.0), (0.0, 0.0), (0.0, 0.0)), [(0.0, 1.0, "oh no no")]),
        (((0.1, 0.4), (0.3, 0.8), (0.8, 0.9)), [(0.0, 1.0, "oh no no")]),
    ],
)
def test_words_that_leave_no_room_are_reported_together(
    times: tuple[tuple[float, float], ...], expected: list[tuple[float, float, str]]
) -> None:
    said = tuple(Word(text, *when, 0.9) for text, when in zip(("oh", "no", "no"), times, strict=True))
    assert spans(Segment(0.0, 1.0, "oh no no", "anger", ROW, words=said)) == expected


def test_textgrids_double_quotes(tmp_path: Path) -> None:
    path = tmp_path / "a.TextGrid"
    recording = join_segments("a.wav", 1.0, [Segment(0.0, 1.0, 'he said "no"', "anger", ROW)])
    path.write_text(FORMATS["textgrid"].write(recording), encoding="utf-8")
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False)
    assert [entry.label for entry in grid.getTier("words").entries] == ['he said "no"']


@given(recordings())
@settings(max_examples=40)
def test_rttm_has_ten_fields(recording: Recording) -> None:
    lines = [line.split(" ") for line in FORMATS["rttm"].write(recording).splitlines()]
    assert {len(line) for line in lines} == {10}
    for line, each in zip(lines, recording.segments, strict=True):
        assert line[:3] + line[5:7] == ["SPEAKER", "a", "1", "<NA>", "<NA>"]
        assert (float(line[3]), float(line[3]) + float(line[4])) == pytest.approx((each.start_s, each.end_s), abs=2e-3)
        assert line[7] == each.statement.replace(" ", "_")


@settings(max_examples=40)
@given(recordings())
def test_json_keeps_to_its_schema(recording: Recording) -> None:
    for format_ in ("json", "jsonl"):
        values = json.loads(FORMATS[format_].write(recording))
        jsonschema.validate(values, SCHEMA, cls=jsonschema.Draft202012Validator)
        assert values == recording.as_dict()
    assert FORMATS["jsonl"].write(recording).count("\n") == 1


@pytest.mark.parametrize("silent", [True, False])
def test_json_of_no_speech_keeps_to_the_schema(silent: bool) -> None:
    values = json.loads(FORMATS["json"].write(nobody(silent)))
    jsonschema.validate(values, SCHEMA, cls=jsonschema.Draft202012Validator)
    assert (values["emotion"], values["segments"], values["silent"]) == (None, [], silent)


def test_the_schema_is_one_and_tells_of_every_key() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    values = join_segments("a.wav", 1.0, [SPOKEN]).as_dict()
    assert set(SCHEMA["properties"]) == {*values, "channels", "speakers", "dimensions"}
    assert set(values) == {*SCHEMA["required"], *SCHEMA["dependentRequired"]}
    assert set(SCHEMA["$defs"]["segment"]["properties"]) == {*values["segments"][0], "channel", "speaker", "dimensions"}
    assert set(SCHEMA["$defs"]["word"]["properties"]) == set(values["segments"][0]["words"][0])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**values, "emotion": 3}, SCHEMA)


def test_dimensions_in_json_and_csv() -> None:
    long, short = (
        replace(SPOKEN, start_s=start_s, end_s=end_s, dimensions={"valence": value})
        for start_s, end_s, value in ((0.0, 3.0, 2.0), (4.0, 5.0, 4.0))
    )
    recording = join_segments("a.wav", 5.0, [long, short])
    values = recording.as_dict()
    assert values["dimensions"] == {"valence": 2.5}  # each weighs as much as it lasts
    assert [each["dimensions"] for each in values["segments"]] == [{"valence": 2.0}, {"valence": 4.0}]
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"].write(recording))))
    assert [row["valence"] for row in rows] == ["2.0", "4.0"]
    frame = recording.to_dataframe()
    assert frame["valence"].tolist() == [2.0, 4.0]
    smooth = join_segments("a.wav", 5.0, [long, short], Judgement(smooth_s=3.0))
    assert 2.0 < smooth.segments[0].dimensions["valence"] < 2.5 < smooth.segments[1].dimensions["valence"] < 4.0


def test_dimensions_where_nobody_speaks() -> None:
    recording = replace(nobody(), dimensions={"valence": None})
    values = recording.as_dict()
    jsonschema.validate(values, SCHEMA, cls=jsonschema.Draft202012Validator)
    assert values["dimensions"] == {"valence": None}
    (row,) = csv.DictReader(io.StringIO(FORMATS["csv"].write(recording)))
    assert (row["emotion"], row["valence"]) == ("no speech", "")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t"])
def test_no_cell_of_a_csv_is_a_formula(start: str) -> None:
    segment = Segment(0.0, 1.0, f"{start}cmd", "anger", {f"{start}x": 0.2, "anger": 0.8})
    header, row = csv.reader(io.StringIO(FORMATS["csv"].write(join_segments(f"{start}1+1.wav", 1.0, [segment]))))
    assert [row[0], row[6], header[4]] == [f"'{start}1+1.wav", f"'{start}cmd", f"'{start}x"]
    assert row[1:6] == ["0.0", "1.0", "anger", "0.2", "0.8"]


def test_a_carriage_return_ends_no_row() -> None:
    recording = join_segments("a\rb.wav", 1.0, [Segment(0.0, 1.0, "no", "anger", ROW)])
    _, row = csv.reader(io.StringIO(FORMATS["csv"].write(recording)))
    assert row[0] == "a b.wav"


@given(recordings())
@settings(max_examples=20)
def test_csv_is_read_back(recording: Recording) -> None:
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"].write(recording))))
    assert [row["transcript"] for row in rows] == [each.transcript for each in recording.segments]
    assert [row["sure"] == "true" for row in rows] == [each.sure for each in recording.segments]
    found = [[float(row[emotion]) for emotion in EMOTIONS] for row in rows]
    np.testing.assert_allclose(found, [list(each.probabilities.values()) for each in recording.segments], atol=6e-5)


def test_no_speech_can_be_written(tmp_path: Path) -> None:
    assert webvtt.from_string(FORMATS["vtt"].write(nobody())).captions == []
    assert list(srt.parse(FORMATS["srt"].write(nobody()))) == []
    assert FORMATS["rttm"].write(nobody()) == ""
    (row,) = csv.DictReader(io.StringIO(FORMATS["csv"].write(nobody())))
    assert (row["emotion"], row["anger"], row["end_s"]) == ("no speech", "", "3.0")
    assert (row["transcript"], row["sure"], row["familiar"]) == ("", "false", "true")
    path = tmp_path / "a.TextGrid"
    path.write_text(FORMATS["textgrid"].write(nobody()), encoding="utf-8")
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True)
    assert [(entry.start, entry.end, entry.label) for entry in grid.getTier("emotion").entries] == [(0, 3, "")]


def words_alone() -> Recording:
    said = Segment(0.0, 1.0, "oh no", None, {}, words=SPOKEN.words)
    return Recording("a.wav", 4.0, (said, Segment(2.0, 3.0, "", None, {})), None, {}, "oh no")


def test_words_alone_have_no_emotion_in_json() -> None:
    values = json.loads(FORMATS["json"].write(words_alone()))
    jsonschema.validate(values, SCHEMA, cls=jsonschema.Draft202012Validator)
    assert set(values) == set(SCHEMA["required"])
    assert set(values["segments"][0]) == {"start_s", "end_s", "transcript", "words"}
    for half in (values, values["segments"][0]):
        where = SCHEMA if half is values else {**SCHEMA["$defs"]["segment"], "$defs": SCHEMA["$defs"]}
        with pytest.raises(jsonschema.ValidationError, match="dependency"):
            jsonschema.validate({**half, "emotion": "anger"}, where, cls=jsonschema.Draft202012Validator)


def test_words_alone_are_read_back_from_every_format(tmp_path: Path) -> None:
    assert [each.content for each in srt.parse(FORMATS["srt"].write(words_alone()))] == ["oh no"]
    assert [each.text for each in webvtt.from_string(FORMATS["vtt"].write(words_alone())).captions] == ["oh no"]
    first, second = csv.DictReader(io.StringIO(FORMATS["csv"].write(words_alone())))
    assert first == {"file": "a.wav", "start_s": "0.0", "end_s": "1.0", "transcript": "oh no"}
    assert (second["start_s"], second["transcript"]) == ("2.0", "")
    line, _ = FORMATS["rttm"].write(words_alone()).splitlines()
    assert line == "SPEAKER a 1 0.000 1.000 <NA> <NA> <NA> <NA> <NA>"
    path = tmp_path / "a.TextGrid"
    path.write_text(FORMATS["textgrid"].write(words_alone()), encoding="utf-8")
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False)
    assert grid.tierNames == ("words",)
    assert [tuple(each) for each in grid.getTier("words").entries] == [(0.1, 0.3, "oh"), (0.3, 0.8, "no")]


def separate(*, words_only: bool = False) -> Recording:
    """A recording of three channels, the last of them silent; the first two speak at the same time."""
    said = tuple(Word(text, 0.5 + 0.2 * place, 0.6 + 0.2 * place, 0.9) for place, text in enumerate(LONG.split()))
    long = Segment(0.5, 9.0, LONG, "sadness", {"anger": 0.1, "neutral": 0.3, "sadness": 0.6}, words=said, channel=2)
    segments = [replace(SPOKEN, channel=1), long, Segment(3.0, 4.0, "yes", "neutral", ROW, channel=1)]
    if words_only:
        segments = [replace(each, emotion=None, probabilities={}) for each in segments]

    def whole(given: Sequence[Segment]) -> Recording:
        if given and not words_only:
            return join_segments("a.wav", 10.0, given)
        nothing = {} if words_only else dict.fromkeys(EMOTIONS, 0.0)
        return Recording("a.wav", 10.0, tuple(given), None, nothing, "", shares=nothing, silent=not given)

    channels = [whole([each for each in segments if each.channel == channel]) for channel in (1, 2, 3)]
    return replace(whole(segments), channels=tuple(channels))


def test_separate_channels_in_json() -> None:
    recording = separate()
    values = json.loads(FORMATS["json"].write(recording))
    jsonschema.validate(values, SCHEMA, cls=jsonschema.Draft202012Validator)
    assert [each["channel"] for each in values["segments"]] == [1, 2, 1]
    assert [each["channel"] for each in values["channels"]] == [1, 2, 3]
    assert set(SCHEMA["$defs"]["voice"]["properties"]) == {*values["channels"][0], "speaker", "dimensions"}
    for found, channel in zip(values["channels"], recording.channels, strict=True):
        expected = channel.as_dict()
        assert {key: value for key, value in found.items() if key != "channel"} == {
            key: expected[key] for key in found if key != "channel"
        }
    values = json.loads(FORMATS["json"].write(separate(words_only=True)))
    jsonschema.validate(values, SCHEMA, cls=jsonschema.Draft202012Validator)
    assert set(values["channels"][0]) == {"channel", "speech_s", "transcript", "silent"}


def test_separate_channels_in_tables() -> None:
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"].write(separate()))))
    assert list(rows[0])[:4] == ["file", "channel", "start_s", "end_s"]
    assert [(row["channel"], row["start_s"], row["emotion"]) for row in rows] == [
        ("1", "0.0", "anger"),
        ("2", "0.5", "sadness"),
        ("1", "3.0", "anger"),
    ]
    alone = list(csv.DictReader(io.StringIO(FORMATS["csv"].write(separate(words_only=True)))))
    assert list(alone[0]) == ["file", "channel", "start_s", "end_s", "transcript"]
    (nothing,) = csv.DictReader(io.StringIO(FORMATS["csv"].write(replace(nobody(), channels=(nobody(), nobody())))))
    assert (nothing["channel"], nothing["emotion"], nothing["end_s"]) == ("", "no speech", "3.0")
    lines = [line.split() for line in FORMATS["rttm"].write(separate()).splitlines()]
    assert [(line[2], line[7]) for line in lines] == [
        ("1", "channel_1_anger"),
        ("2", "channel_2_sadness"),
        ("1", "channel_1_anger"),
    ]
    lines = [line.split() for line in FORMATS["rttm"].write(separate(words_only=True)).splitlines()]
    assert [line[7] for line in lines] == ["channel_1", "channel_2", "channel_1"]


@pytest.mark.parametrize("words_only", [False, True])
def test_separate_channels_in_subtitles(words_only: bool) -> None:
    captions = webvtt.from_string(FORMATS["vtt"].write(separate(words_only=words_only))).captions
    cues = list(srt.parse(FORMATS["srt"].write(separate(words_only=words_only))))
    assert [each.text for each in captions] == [each.content for each in cues]
    starts = [each.start for each in captions]
    assert starts == sorted(starts)  # as WebVTT demands
    assert [each.start for each in cues] == sorted(each.start for each in cues)
    tags = ("[channel 1]", "[channel 2]") if words_only else ("[channel 1 anger]", "[channel 2 sadness]")
    assert [" ".join(each.text.split()) for each in captions if each.text.startswith(tags[0])] == [
        f"{tags[0]} oh no",
        f"{tags[0]} yes",
    ]
    said = [" ".join(each.text.split()).removeprefix(tags[1]) for each in captions if each.text.startswith(tags[1])]
    assert len(said) > 1
    assert "".join(said).split() == LONG.split()


def test_separate_channels_have_tiers_of_their_own(tmp_path: Path) -> None:
    def grid(recording: Recording) -> textgrid.Textgrid:
        path = tmp_path / "a.TextGrid"
        path.write_text(FORMATS["textgrid"].write(recording), encoding="utf-8")
        return textgrid.openTextgrid(str(path), includeEmptyIntervals=True)

    found = grid(separate())
    assert found.tierNames == tuple(
        f"{kind} {channel}" for channel in (1, 2, 3) for kind in ("emotion", "probability", "words")
    )
    for number, channel in enumerate(separate().channels, start=1):
        alone = grid(channel)
        for kind in alone.tierNames:
            assert found.getTier(f"{kind} {number}").entries == alone.getTier(kind).entries
    assert grid(separate(words_only=True)).tierNames == ("words 1", "words 2", "words 3")


def test_smoothing_stays_within_a_channel() -> None:
    given = separate().segments
    judgement = Judgement(smooth_s=3.0)
    together = join_segments("a.wav", 10.0, given, judgement).segments
    alone = [
        segment
        for channel in (1, 2)
        for segment in join_segments(
            "a.wav", 10.0, [each for each in given if each.channel == channel], judgement
        ).segments
    ]
    assert sorted(together, key=str) == sorted(alone, key=str)


def test_the_shell_offers_every_format() -> None:
    assert {each.value for each in Format} == {"table", *FORMATS}
