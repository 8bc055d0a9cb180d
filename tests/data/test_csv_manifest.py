"""CSV manifests: as spreadsheets write them, checked as strictly as JSON, every fault with its line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from affetto.data.corpora import open_corpus
from affetto.data.corpora.csv_manifest import read_csv_manifest
from affetto.data.manifest import read_manifest
from affetto.data.utterance import Rating
from affetto.errors import ManifestError

Build = Callable[[str], Path]
in_one_folder = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_reads_what_a_spreadsheet_wrote(build: Build) -> None:
    root = build("csv")
    parsed = open_corpus(root)
    facts = [(each.id, each.speaker, each.audio, each.emotion, each.text, each.corpus) for each in parsed.utterances]
    assert facts == [
        ("a", "bob", root / "audio" / "a.opus", None, None, "csv"),
        ("b", "ann", root / "audio" / "b.wav", "anger", 'Well, "no".\r\nNever.', "csv"),
        ("long-00000010", "bob", root / "long.wav", "fear", None, "csv"),
    ]
    assert [(each.start_s, each.end_s) for each in parsed.utterances] == [(0.0, None), (0.0, None), (0.01, 0.05)]
    assert [item.reason for item in parsed.skipped] == ["audio missing"]
    assert open_corpus(root / "manifest.csv").utterances == parsed.utterances


def test_reads_votes_and_ratings_where_cells_are_filled(build: Build) -> None:
    utterances = open_corpus(build("csv")).utterances
    assert [each.votes for each in utterances] == [None, {"anger": 2, "fear": 0}, {"fear": 3}]
    assert [each.ratings for each in utterances] == [
        (),
        (Rating("E1", ("anger", "fear")), Rating("E 2", ("anger",))),
        (Rating("E 2", ("fear",)),),
    ]


def test_any_csv_file_can_be_named(tmp_path: Path, make_sound: Callable[..., Path]) -> None:
    make_sound("a.wav")
    (tmp_path / "calls.CSV").write_text("audio,speaker\na.wav,ann\n")
    assert [each.id for each in open_corpus(tmp_path / "calls.CSV").utterances] == ["a"]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", "1: no column audio, speaker; name columns among audio, speaker, id"),
        ("\n\naudio;speaker\n", "3: no column audio, speaker"),
        ("audio\na.wav", "1: no column speaker"),
        ("audio,speaker,mood\n", "1: unknown column 'mood'"),
        ("audio,speaker,votes_\n", "1: unknown column 'votes_'"),
        ("audio,speaker,\n", "1: unknown column ''"),
        ("audio,speaker,audio\n", "1: twice the column audio"),
        ("audio,speaker\na.wav\n", "2: 1 cells where the header has 2; put quotation marks"),
        ("audio,speaker\n\na.wav,ann,\n", "3: 3 cells where the header has 2"),
        ("audio,speaker\na.wav,\n", "2: speaker: Field required; give every row audio and speaker"),
        ("audio,speaker\na.wav,ann\nb/a.wav,bob\n", "3: the id 'a' is that of line 2"),
        ('audio,speaker,text\na.wav,ann,"one\ntwo"\na.wav,ann,x\n', "4: the id 'a' is that of line 2"),
        ('audio,speaker\na.wav,ann\nb.wav,"ann\n\n', "3: not CSV (unexpected end of data); close every quotation mark"),
        ("audio,speaker,start_s\na.wav,ann,soon\n", "2: start_s: Input should be a valid number"),
        ("audio,speaker,start_s\na.wav,ann,1_0\n", "2: start_s: Input should be a valid number"),
        ("audio,speaker,start_s\na.wav,ann,-1\n", "2: start_s: Input should be greater than or equal to 0"),
        ("audio,speaker,end_s\na.wav,ann,nan\n", "2: end_s: Input should be a finite number"),
        ("audio,speaker,end_s\na.wav,ann,0\n", "2: end_s 0.0 is not after start_s 0.0"),
        ("audio,speaker,votes_anger\na.wav,ann,1.5\n", "2: votes.anger: Input should be a valid integer"),
        ("audio,speaker,rating_E1\na.wav,ann,;\n", "2: ratings.0.labels: Tuple should have at least 1 item"),
    ],
)
def test_names_the_line_and_the_fault(content: str, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    path.write_text(content)
    with pytest.raises(ManifestError) as caught:
        read_csv_manifest(path)
    assert str(caught.value).startswith(f"{path}:{fault}")


def test_says_that_it_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_bytes("audio,speaker\na.wav,André\n".encode("latin-1"))
    with pytest.raises(ManifestError, match=r"manifest\.csv: not UTF-8 text"):
        open_corpus(tmp_path)


def test_says_that_there_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="No such file"):
        read_csv_manifest(tmp_path / "manifest.csv")


WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8).map(str.strip).filter(bool)
ROWS = st.lists(st.fixed_dictionaries(dict.fromkeys(("audio", "speaker", "id", "text", "group"), WORDS)), max_size=4)


@in_one_folder
@given(rows=ROWS.filter(lambda rows: len({row["id"] for row in rows}) == len(rows)))
def test_says_what_the_same_lines_say_in_json(rows: list[dict[str, str]], tmp_path: Path) -> None:
    with (tmp_path / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["audio", "speaker", "id", "text", "group"])
        writer.writeheader()
        writer.writerows(rows)
    (tmp_path / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_csv_manifest(tmp_path / "manifest.csv") == read_manifest(tmp_path / "manifest.jsonl")


MARKS = [b",", b",", b"\n", b"\n", b'"', b"\r", b"\x00", b"\xff", b";", b"\xe2\x80\xa8"]
PIECES = st.sampled_from([*MARKS, b"a.wav", b"1e999", b"9" * 4301, b"-1"])
HEADERS = st.sampled_from([b"", b"audio,speaker\n", b"audio,speaker,start_s,end_s,votes_a,rating_b\na.wav,ann,"])


@in_one_folder
@given(header=HEADERS, content=st.one_of(st.binary(max_size=60), st.lists(PIECES, max_size=30).map(b"".join)))
def test_bytes_of_any_kind_give_utterances_or_a_clear_error(header: bytes, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_bytes(header + content)
    assert _read_or_refused(tmp_path / "manifest.csv")


def _read_or_refused(path: Path) -> bool:
    """Whether a manifest was read or refused; any other exception goes through."""
    try:
        read_csv_manifest(path)
    except ManifestError as error:
        return bool(error.remedy)
    return True


def test_a_cell_beyond_all_measure_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text(f"audio,speaker\n{'x' * 200_000},ann\n")
    with pytest.raises(ManifestError, match=r"2: not CSV \(field larger than field limit"):
        read_csv_manifest(tmp_path / "manifest.csv")
