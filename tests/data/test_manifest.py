"""Manifests: what is written is read back, and every fault is named with its line."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from affetto.data.manifest import manifest_digest, read_manifest, write_manifest
from affetto.data.utterance import Rating, Utterance
from affetto.errors import ManifestError

FULL = {
    "id": "u1",
    "audio": "wav/u1.wav",
    "speaker": "ann",
    "corpus": "mine",
    "start_s": 1,
    "end_s": 2.5,
    "text": 'Grüße, \u2028 "you"',
    "emotion": "anger",
    "votes": {"anger": 2, "fear": 0},
    "ratings": [{"rater": "C-E2", "labels": ["neutral", "anger"]}, {"rater": "C-F1", "labels": ["anger"]}],
    "dimensions": {"valence": 2.5, "activation": -1},
    "group": "Session1",
    "partition": "train",
}
NAMES = st.text(min_size=1, max_size=8).filter(str.strip)
RATINGS = st.builds(Rating, NAMES, st.lists(NAMES, min_size=1, max_size=3).map(tuple))
STEMS = st.text("abcXYZ019-_ é", min_size=1, max_size=8).filter(str.strip)


@st.composite
def utterances(draw: st.DrawFn) -> Utterance:
    start_s = draw(st.floats(0, 1e4))
    return Utterance(
        id=draw(NAMES),
        audio=Path("/corpus/wav", draw(STEMS) + ".wav"),
        speaker=draw(NAMES),
        corpus=draw(NAMES),
        start_s=start_s,
        end_s=draw(st.none() | st.floats(0.01, 10).map(lambda length_s: start_s + length_s)),
        text=draw(st.none() | st.text(max_size=20)),
        emotion=draw(st.none() | NAMES),
        votes=draw(st.none() | st.dictionaries(NAMES, st.integers(0, 99), max_size=3)),
        ratings=tuple(draw(st.lists(RATINGS, max_size=3))),
        dimensions=draw(st.none() | st.dictionaries(NAMES, st.floats(-99, 99), max_size=3)),
        group=draw(st.none() | NAMES),
        partition=draw(st.none() | NAMES),
    )


MANIFESTS = st.lists(utterances(), max_size=4, unique_by=lambda each: (each.corpus, each.id))
in_one_folder = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _manifest(tmp_path: Path, *lines: object) -> Path:
    path = tmp_path / "talks" / "manifest.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_reads_every_key(tmp_path: Path) -> None:
    path = _manifest(tmp_path, FULL)
    assert read_manifest(path) == [
        Utterance(
            id="u1",
            audio=path.parent / "wav" / "u1.wav",
            speaker="ann",
            corpus="mine",
            start_s=1.0,
            end_s=2.5,
            text='Grüße, \u2028 "you"',
            emotion="anger",
            votes={"anger": 2, "fear": 0},
            ratings=(Rating("C-E2", ("neutral", "anger")), Rating("C-F1", ("anger",))),
            dimensions={"valence": 2.5, "activation": -1.0},
            group="Session1",
            partition="train",
        )
    ]


def test_fills_in_id_and_corpus(tmp_path: Path) -> None:
    lines: list[dict[str, object]] = [
        {"audio": "a/x.wav"},
        {"audio": "a/x.wav", "start_s": 1.5},
        {"audio": "a/x.wav", "start_s": 3, "end_s": 4},
    ]
    read = read_manifest(_manifest(tmp_path, *({**line, "speaker": "ann"} for line in lines)))
    assert [(each.corpus, each.id) for each in read] == [
        ("talks", "x"),
        ("talks", "x-00001500"),
        ("talks", "x-00003000"),
    ]


def test_keeps_an_absolute_path(tmp_path: Path) -> None:
    (utterance,) = read_manifest(_manifest(tmp_path, {"audio": "/far/away.wav", "speaker": "ann"}))
    assert utterance.audio == Path("/far/away.wav")


def test_passes_over_blank_lines_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"audio": "a.wav", "speaker": "s"}\r\n\r\n\n')
    assert len(read_manifest(path)) == 1


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "the line: Invalid JSON"),
        ("[]", "the line: Input should be an object"),
        ('{"audio": "a.wav"}', "speaker: Field required"),
        ('{"speaker": "ann"}', "audio: Field required"),
        ('{"audio": "a.wav", "speaker": " "}', "speaker: String should match"),
        ('{"audio": "a.wav", "speaker": 7}', "speaker: Input should be a valid string"),
        ('{"audio": "a.wav", "speaker": "ann", "transcript": "x"}', "transcript: Extra inputs are not permitted"),
        ('{"audio": "a.wav", "speaker": "ann", "start_s": -1}', "start_s: Input should be greater than or equal to 0"),
        ('{"audio": "a.wav", "speaker": "ann", "start_s": "1"}', "start_s: Input should be a valid number"),
        ('{"audio": "a.wav", "speaker": "ann", "end_s": NaN}', "end_s: Input should be a finite number"),
        ('{"audio": "a.wav", "speaker": "ann", "end_s": 0}', "end_s 0.0 is not after start_s 0.0"),
        (
            '{"audio": "a.wav", "speaker": "ann", "votes": {"anger": 1.5}}',
            "votes.anger: Input should be a valid integer",
        ),
        ('{"audio": "a.wav", "speaker": "ann", "ratings": ["anger"]}', "ratings.0: Input should be an object"),
        ('{"audio": "a.wav", "speaker": "ann", "ratings": [{"rater": "C-E1"}]}', "ratings.0.labels: Field required"),
        (
            '{"audio": "a.wav", "speaker": "ann", "ratings": [{"rater": "C-E1", "labels": []}]}',
            "ratings.0.labels: Tuple should have at least 1 item",
        ),
        ('{"audio": "first.wav", "speaker": "ann"}', "the id 'first' is that of line 1"),
    ],
)
def test_names_the_line_and_the_fault(line: str, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_text('{"audio": "first.wav", "speaker": "ann"}\n\n' + line)
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    assert str(caught.value).startswith(f"{path}:3: {fault}")
    assert caught.value.remedy


def test_says_that_there_is_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="No such file"):
        read_manifest(tmp_path / "manifest.jsonl")


@in_one_folder
@given(written=MANIFESTS)
def test_reads_back_what_it_wrote(written: list[Utterance], tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    write_manifest(path, written)
    assert read_manifest(path) == written


def test_writes_paths_below_the_manifest_relative_to_it(tmp_path: Path) -> None:
    near, far = tmp_path / "wav" / "near.wav", Path("/far/away.wav")
    write_manifest(
        tmp_path / "m.jsonl", [Utterance(id=path.stem, audio=path, speaker="s", corpus="c") for path in (near, far)]
    )
    lines = (tmp_path / "m.jsonl").read_text().splitlines()
    assert [json.loads(line)["audio"] for line in lines] == ["wav/near.wav", "/far/away.wav"]


def test_leaves_the_old_manifest_where_the_new_one_is_faulty(tmp_path: Path) -> None:
    path = _manifest(tmp_path, FULL)
    before = path.read_bytes()
    twice = [Utterance(id="a", audio=Path("a.wav"), speaker="s", corpus="c")] * 2
    with pytest.raises(ManifestError, match="the id 'a' is used twice"):
        write_manifest(path, twice)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("text", ["\ud800", None])
def test_says_that_it_cannot_write(text: str | None, tmp_path: Path) -> None:
    utterance = Utterance(id="a", audio=Path("a.wav"), speaker="s", corpus="c", text=text)
    path = tmp_path / ("m.jsonl" if text else "missing/m.jsonl")
    with pytest.raises(ManifestError, match="cannot be written"):
        write_manifest(path, [utterance])
    assert not list(tmp_path.iterdir())


@settings(max_examples=30)
@given(data=MANIFESTS.filter(bool), seed=st.randoms())
def test_digest_knows_neither_order_nor_place(data: list[Utterance], seed: Random) -> None:
    moved = [replace(each, audio=Path("/elsewhere", *each.audio.parts[1:])) for each in data]
    seed.shuffle(moved)
    assert manifest_digest(moved) == manifest_digest(data)


@pytest.mark.parametrize(
    "change",
    [
        {"text": "other"},
        {"speaker": "bob"},
        {"votes": {"anger": 1}},
        {"ratings": ()},
        {"dimensions": {"valence": 2.6}},
        {"start_s": 1.1},
        {"audio": Path("/w/other.wav")},
    ],
)
def test_digest_knows_what_is_said(change: dict[str, object], tmp_path: Path) -> None:
    (utterance,) = read_manifest(_manifest(tmp_path, FULL))
    assert manifest_digest([replace(utterance, **change)]) != manifest_digest([utterance])  # type: ignore[arg-type]


def test_digest_is_that_of_sorted_json() -> None:
    utterance = Utterance(id="a", audio=Path("/w/a.wav"), speaker="s", corpus="c", votes={"b": 1, "a": 2})
    said = b'[{"audio": "a.wav", "corpus": "c", "id": "a", "speaker": "s", "votes": {"a": 2, "b": 1}}]'
    assert manifest_digest([utterance]) == hashlib.sha256(said).hexdigest()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(FULL)), inner, max_size=11),
    max_leaves=12,
)
LINES = st.one_of(
    st.binary(max_size=80),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(st.sampled_from(sorted(FULL)), JSON).map(lambda some: json.dumps({**FULL, **some}).encode()),
)


@settings(in_one_folder, max_examples=100)
@given(lines=st.lists(LINES, max_size=3))
def test_bytes_of_any_kind_give_utterances_or_a_clear_error(lines: list[bytes], tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(b"\n".join(lines))
    assert _read_or_refused(path)


@pytest.mark.parametrize("line", [b"[" * 100_000, b'{"votes": ' * 5_000, b"9" * 5_000, b'{"audio": "\\ud800"}'])
def test_json_beyond_all_measure_is_refused(line: bytes, tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_bytes(line)
    with pytest.raises(ManifestError):
        read_manifest(tmp_path / "manifest.jsonl")


def _read_or_refused(path: Path) -> bool:
    """Whether a manifest was read (and can be written again) or refused; any other exception goes through."""
    try:
        write_manifest(path, read_manifest(path))
    except ManifestError as error:
        return bool(error.remedy)
    return True
