"""CSV manifests: as spreadsheets write them, checked as strictly as JSON, every fault with its line."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from affetto.data.corpora import Skipped, open_corpus
from affetto.data.corpora.manifests import ALIASES, COLUMNS, read_csv_manifest
from affetto.data.manifest import read_manifest
from affetto.data.utterance import SPELLINGS, Rating
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


def test_reads_dimensions_where_cells_are_filled(build: Build) -> None:
    assert [each.dimensions for each in open_corpus(build("csv")).utterances] == [None, {"valence": -0.5}, None]


def test_any_csv_file_can_be_named(tmp_path: Path, make_sound: Callable[..., Path]) -> None:
    make_sound("a.wav")
    (tmp_path / "calls.CSV").write_text("audio,speaker\na.wav,ann\n")
    assert [each.id for each in open_corpus(tmp_path / "calls.CSV").utterances] == ["a"]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", "1: no column audio, speaker; name columns among audio, speaker, id"),
        ("\n\naudio|speaker\n", "3: no column audio, speaker (there are 'audio|speaker')"),
        ("audio,who\na.wav", "1: no column speaker (there are 'audio', 'who')"),
        ("Path,file,speaker\n", "1: twice the column audio"),
        ("audio,speaker,audio\n", "1: twice the column audio"),
        ("audio,speaker\na.wav\n", "2: 1 cells where the header has 2; put quotation marks"),
        ("audio,speaker\n\na.wav,ann,\n", "3: 3 cells where the header has 2"),
        ("audio,speaker\na.wav,\n", "2: speaker: Field required; give every row audio and speaker"),
        ("audio,speaker,id\na.wav,ann,x\nb/a.wav,bob,x\n", "3: the id 'x' is that of line 2"),
        ('audio,speaker,text\na.wav,ann,"one\ntwo"\na.wav,ann,x\n', "4: the id 'a' is that of line 2"),
        ('audio,speaker\na.wav,ann\nb.wav,"ann\n\n', "3: not CSV (unexpected end of data); close every quotation mark"),
        ("audio,speaker,start_s\na.wav,ann,soon\n", "2: start_s: Input should be a valid number"),
        ("audio,speaker,start_s\na.wav,ann,1_0\n", "2: start_s: Input should be a valid number"),
        ("audio,speaker,start_s\na.wav,ann,-1\n", "2: start_s: Input should be greater than or equal to 0"),
        ("audio,speaker,end_s\na.wav,ann,nan\n", "2: end_s: Input should be a finite number"),
        ("audio,speaker,end_s\na.wav,ann,0\n", "2: end_s 0.0 is not after start_s 0.0"),
        ("audio,speaker,votes_anger\na.wav,ann,1.5\n", "2: votes.anger: Input should be a valid integer"),
        ("audio,speaker,dimension_x\na.wav,ann,nan\n", "2: dimensions.x: Input should be a finite number"),
        ("audio,speaker,rating_E1\na.wav,ann,;\n", "2: ratings.0.labels: Tuple should have at least 1 item"),
    ],
)
def test_names_the_line_and_the_fault(content: str, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    path.write_text(content)
    with pytest.raises(ManifestError) as caught:
        read_csv_manifest(path)
    assert str(caught.value).startswith(f"{path}:{fault}")


@pytest.mark.parametrize(
    "content",
    [
        "audio;speaker;emotion\na.wav;01;Angry\n",
        "Path\tSpeaker ID\tLabel\na.wav\t01\tanger\n",
        "FILE,Speaker_ID,duration,EMOTION,\na.wav,01,3.2,ANGRY,\n",
        "audio,path,speaker,emotion\na.wav,/elsewhere/b.wav,01,ang\n",
        '"audio" , "speaker" ,"emotion" \n"a.wav" , "01", "angry" \n',
    ],
)
@pytest.mark.parametrize("name", ["manifest.csv", "manifest.tsv"])
def test_other_headers_are_read(content: str, name: str, tmp_path: Path, make_sound: Callable[..., Path]) -> None:
    make_sound("a.wav")
    (tmp_path / name).write_text(content)
    for path in (tmp_path, tmp_path / name):
        (utterance,) = open_corpus(path).utterances
        assert (utterance.id, utterance.audio.name, utterance.speaker, utterance.emotion) == (
            "a",
            "a.wav",
            "01",
            "anger",
        )


def test_cells_in_quotation_marks_keep_what_is_in_them(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    path.write_text('"audio", "speaker" , "text" \na.wav, "ann" ,"one"" , ""two"\nb.wav,ann,5" or "6" , 7"\n')
    with pytest.raises(ManifestError, match=r":3: 4 cells"):
        read_csv_manifest(path)
    path.write_text('"audio", "speaker" , "text" \na.wav, "ann" ,"one"" , \n,""two"\nb.wav,ann, "no" he said\n')
    assert [each.text for each in read_csv_manifest(path)] == ['one" , \n,"two', '"no" he said']


def test_columns_that_are_passed_over_are_reported(tmp_path: Path, make_sound: Callable[..., Path]) -> None:
    make_sound("a.wav")
    (tmp_path / "manifest.csv").write_text("audio,speaker,mood,\na.wav,ann,bad,\n")
    assert open_corpus(tmp_path).skipped == (Skipped("manifest.csv:1 mood", "column not known"),)


@pytest.mark.parametrize("name", ["manifest.csv", "manifest.jsonl"])
def test_equal_stems_are_named_by_their_paths(name: str, tmp_path: Path, make_sound: Callable[..., Path]) -> None:
    paths = ["anna/1.wav", "ben/1.wav", "ben/2.wav"]
    for path in paths:
        make_sound(path)
    lines = ["audio,speaker", *(f"{path},{path[:3]}" for path in paths)]
    if name.endswith("l"):
        lines = [json.dumps({"audio": path, "speaker": path[:3]}) for path in paths]
    (tmp_path / name).write_text("\n".join(lines))
    assert [each.id for each in open_corpus(tmp_path).utterances] == ["2", "anna/1.wav", "ben/1.wav"]


def test_speakers_who_may_be_one_are_reported(tmp_path: Path, make_sound: Callable[..., Path]) -> None:
    speakers = ["1", "01", "10", "100", "S01", "s1", "Ann", "ann "]
    for number, _ in enumerate(speakers):
        make_sound(f"{number}.wav")
    rows = [json.dumps({"audio": f"{number}.wav", "speaker": name}) for number, name in enumerate(speakers)]
    (tmp_path / "manifest.jsonl").write_text("\n".join(rows))
    parsed = open_corpus(tmp_path)
    assert {each.speaker for each in parsed.utterances} == set(speakers)
    reason = "names of perhaps one speaker (kept apart)"
    assert parsed.skipped == tuple(Skipped(names, reason) for names in ("01, 1", "Ann, ann ", "S01, s1"))


def test_labels_are_spelt_alike(tmp_path: Path, make_sound: Callable[..., Path]) -> None:
    make_sound("a.wav")
    record = {
        "audio": "a.wav",
        "speaker": "ann",
        "emotion": "SAD",
        "votes": {"Happy": 2, "happiness": 1, "Odd": 1},
        "ratings": [{"rater": "C-E1", "labels": ["Angry", "Neutral state"]}],
    }
    (tmp_path / "manifest.jsonl").write_text(json.dumps(record))
    (utterance,) = open_corpus(tmp_path).utterances
    assert (utterance.emotion, utterance.votes) == ("sadness", {"happiness": 3, "odd": 1})
    assert utterance.ratings == (Rating("C-E1", ("anger", "neutral")),)


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


def test_the_docs_list_every_name() -> None:
    page = (Path(__file__).parents[2] / "docs" / "corpora.md").read_text(encoding="utf-8")
    words = set(re.findall(r"[\w ]*\w", page.replace("`", "")))
    listed = {word.strip() for word in words}
    assert {*COLUMNS, *ALIASES, *SPELLINGS} <= listed
