"""Each reader on its official layout, and what every registered reader must keep to."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from affetto.data.corpora import CORPORA, Parsed, open_corpus
from affetto.data.corpora.crema_d import SENTENCES
from affetto.errors import AffettoError, CorpusError, RegistryError

Build = Callable[[str], Path]
READERS = CORPORA.names()
INSIDE = {"common_voice": "en", "iemocap": "IEMOCAP_full_release"}
"""Where, in the folder that is built, the corpus itself lies."""


@pytest.fixture
def parsed(build: Build, request: pytest.FixtureRequest) -> Parsed:
    return open_corpus(build(request.param))


every_reader = pytest.mark.parametrize("parsed", READERS, indirect=True)


@pytest.mark.parametrize("name", READERS)
def test_declares_what_it_is(name: str) -> None:
    corpus = CORPORA.load(name)
    assert corpus.name == name
    assert corpus.title
    assert corpus.licence
    assert corpus.citation
    assert re.fullmatch("([a-z]{2})?", corpus.language)


@pytest.mark.parametrize("name", READERS)
def test_tells_its_layout_from_all_others(name: str, build: Build) -> None:
    root = build(name) / INSIDE.get(name, "")
    assert [each for each in READERS if CORPORA.load(each).detect(root)] == [name]


@pytest.mark.parametrize("name", READERS)
def test_detects_nothing_in_an_empty_or_missing_folder(name: str, tmp_path: Path) -> None:
    assert not CORPORA.load(name).detect(tmp_path)
    assert not CORPORA.load(name).detect(tmp_path / "missing")


@every_reader
def test_finds_something_and_names_itself(parsed: Parsed) -> None:
    assert parsed.utterances
    assert parsed.corpus in READERS


@every_reader
def test_sorts_by_ids_that_are_unique(parsed: Parsed) -> None:
    ids = [(utterance.corpus, utterance.id) for utterance in parsed.utterances]
    assert ids == sorted(set(ids))


@every_reader
def test_sound_exists_and_is_below_the_root(parsed: Parsed) -> None:
    assert all(utterance.audio.is_file() for utterance in parsed.utterances)
    assert all(utterance.audio.is_relative_to(parsed.root) for utterance in parsed.utterances)


@every_reader
def test_speakers_and_corpora_have_names(parsed: Parsed) -> None:
    assert all(utterance.speaker.strip() and utterance.corpus.strip() for utterance in parsed.utterances)


@every_reader
def test_counts_the_flaws_built_in(parsed: Parsed) -> None:
    assert parsed.skipped
    assert all(item.what and item.reason for item in parsed.skipped)


@pytest.mark.parametrize("name", READERS)
def test_reads_the_same_twice_and_by_name(name: str, build: Build) -> None:
    root = build(name)
    assert open_corpus(root) == open_corpus(root, name)


def _reasons(parsed: Parsed) -> dict[str, int]:
    return dict(Counter(item.reason for item in parsed.skipped))


def test_kaldi(build: Build) -> None:
    root = build("kaldi")
    parsed = open_corpus(root)
    facts = [(each.id, each.speaker, each.text, each.partition, each.corpus) for each in parsed.utterances]
    assert facts == [
        ("u1", "s1", "ONE WORD", "train", "kaldi"),
        ("u2", "s1", "TWO  WORDS", "train", "kaldi"),
        ("u3", "s2", "THREE", "test", "kaldi"),
    ]
    assert parsed.utterances[2].audio == root / "WAVE" / "S2" / "u3.flac"
    assert _reasons(parsed) == {"audio missing": 1, "no transcript": 1, "piped command, not run": 1}


def test_kaldi_never_runs_a_command(build: Build) -> None:
    root = build("kaldi")
    open_corpus(root)
    assert not (root / "ran").exists()


def test_kaldi_reads_one_part_alone(build: Build) -> None:
    (utterance,) = open_corpus(build("kaldi") / "test").utterances
    assert (utterance.id, utterance.partition, utterance.corpus) == ("u3", "test", "kaldi")


def test_kaldi_segments(tmp_path: Path, make_sound: Callable[..., Path]) -> None:
    folder = make_sound("talks/wav/talk 1.wav", duration_s=0.5).parent.parent
    (folder / "text").write_text("a one\nb two\nc three\n")
    (folder / "utt2spk").write_text("a x\nb x\n")
    (folder / "wav.scp").write_text("talk wav/talk 1.wav\n")
    (folder / "segments").write_text("a talk 0.1 0.2\nb talk 0.2 -1\nc talk 0.3 0.4\nd talk 0.4 0.3\ne talk nan 1\n")
    parsed = open_corpus(folder)
    facts = [(each.id, each.start_s, each.end_s, each.partition) for each in parsed.utterances]
    assert facts == [("a", 0.1, 0.2, None), ("b", 0.2, None, None)]
    assert _reasons(parsed) == {"malformed segment": 2, "no speaker": 1}


def test_common_voice(build: Build) -> None:
    parsed = open_corpus(build("common_voice"))
    facts = [(each.id, each.speaker, each.text, each.partition) for each in parsed.utterances]
    assert facts == [
        ("common_voice_en_1", "ann", "A line\u2028apart.", None),
        ("common_voice_en_2", "bob", '"Quoted, he said.', None),
    ]
    assert _reasons(parsed) == {"audio missing": 1, "malformed line": 1, "no speaker": 1, "no transcript": 1}


def test_common_voice_names_a_missing_column(build: Build) -> None:
    root = build("common_voice")
    (root / "en" / "validated.tsv").write_text("client_id\tpath\na\tb\n")
    with pytest.raises(CorpusError, match=r"validated\.tsv: no column sentence"):
        open_corpus(root)


def test_lj_speech(build: Build) -> None:
    parsed = open_corpus(build("lj_speech"))
    facts = [(each.id, each.text, each.audio.name) for each in parsed.utterances]
    assert facts == [
        ("LJ001-0001", "Printing,", "LJ001-0001.wav"),
        ("LJ001-0002", "in fourteen fifty-five,", "LJ001-0002.opus"),
    ]
    assert _reasons(parsed) == {"audio missing": 1, "malformed line": 1, "no transcript": 1}


def test_librispeech(build: Build) -> None:
    parsed = open_corpus(build("librispeech"))
    facts = [(each.id, each.speaker, each.text, each.partition) for each in parsed.utterances]
    assert facts == [
        ("61-7-0000", "61", "HE BEGAN", "test-clean"),
        ("84-1-0000", "84", "GO DO YOU HEAR", "dev-clean"),
    ]
    assert _reasons(parsed) == {"audio missing": 1, "no transcript": 1}


def test_librispeech_reads_one_subset_alone(build: Build) -> None:
    (utterance,) = open_corpus(build("librispeech") / "dev-clean").utterances
    assert utterance.partition == "dev-clean"


def test_jsonl(build: Build) -> None:
    root = build("jsonl")
    parsed = open_corpus(root)
    facts = [(each.id, each.speaker, each.audio, each.votes, each.corpus) for each in parsed.utterances]
    assert facts == [
        ("a", "bob", root / "audio" / "a.opus", None, "jsonl"),
        ("b", "ann", root / "audio" / "b.wav", {"anger": 2}, "jsonl"),
    ]
    assert _reasons(parsed) == {"audio missing": 1}
    assert open_corpus(root / "manifest.jsonl").utterances == parsed.utterances


def test_jsonl_takes_a_file_named_outright_and_no_other_with_dots(tmp_path: Path) -> None:
    for name in ("call.raw", "clip.wav", "clip.01.wav"):
        (tmp_path / name).touch()
    names = ["call.raw", "clip.01", "clip.02", "x" * 300, "nul\0.wav"]
    lines = [json.dumps({"id": name[:7], "audio": name, "speaker": "ann"}) for name in names]
    (tmp_path / "manifest.jsonl").write_text("\n".join(lines))
    parsed = open_corpus(tmp_path)
    assert [each.audio.name for each in parsed.utterances] == ["call.raw", "clip.01.wav"]
    assert _reasons(parsed) == {"audio missing": 3}


def test_crema_d(build: Build) -> None:
    parsed = open_corpus(build("crema_d"))
    facts = [(each.id, each.speaker, each.emotion, each.text) for each in parsed.utterances]
    assert facts == [
        ("1001_DFA_ANG_XX", "1001", "anger", "Don't forget a jacket."),
        ("1002_IEO_HAP_HI", "1002", "happiness", "It's eleven o'clock."),
        ("1040_ITH_SAD_X", "1040", "sadness", "I think I have a doctor's appointment."),
    ]
    assert _reasons(parsed) == {"malformed votes": 1, "name is not actor_sentence_emotion_intensity": 2}


def test_crema_d_votes_are_those_on_the_voice_alone(build: Build) -> None:
    votes = [utterance.votes for utterance in open_corpus(build("crema_d")).utterances]
    nobody = dict.fromkeys(("anger", "disgust", "fear", "happiness", "neutral", "sadness"), 0)
    assert votes == [
        nobody | {"anger": 6, "disgust": 2, "neutral": 1},
        None,
        nobody | {"fear": 2, "neutral": 5, "sadness": 3},
    ]


def test_crema_d_intensity_counts_neutral_as_none(build: Build) -> None:
    found = [utterance.dimensions for utterance in open_corpus(build("crema_d")).utterances]
    assert found == [
        {"intensity": pytest.approx((6 * 60 + 2 * 45) / 9)},
        None,
        {"intensity": pytest.approx((2 * 50 + 3 * 20) / 10)},
    ]


@pytest.mark.parametrize(("levels", "problem"), [("200,45,-1,-1,90,-1", 1), ("-1,45,-1,-1,90,-1", 0), ("?,4", 1)])
def test_crema_d_levels_that_cannot_be_are_malformed(levels: str, problem: int, build: Build) -> None:
    root = build("crema_d")
    file = root / "processedResults" / "tabulatedVotes.csv"
    file.write_text(file.read_text().replace("60,45,-1,-1,90,-1", levels))
    assert _reasons(open_corpus(root))["malformed votes"] == 1 + problem


def test_crema_d_says_that_votes_are_missing(build: Build) -> None:
    root = build("crema_d")
    (root / "processedResults" / "tabulatedVotes.csv").unlink()
    assert _reasons(open_corpus(root))["crowd's votes missing"] == 1


def test_crema_d_has_twelve_sentences() -> None:
    assert len(set(SENTENCES.values())) == 12


def test_opens_the_folder_around_a_corpus(build: Build) -> None:
    root = build("lj_speech")
    assert open_corpus(root.parent) == open_corpus(root)


def test_asks_which_of_several_corpora(build: Build) -> None:
    build("lj_speech")
    with pytest.raises(CorpusError, match=r"crema_d \(crema_d\), lj_speech \(lj_speech\); give one"):
        open_corpus(build("crema_d").parent)


def test_keeps_the_first_of_two_with_one_id(build: Build) -> None:
    root = build("lj_speech")
    (root / "metadata.csv").write_text("LJ001-0001|first\nLJ001-0001|second\n")
    parsed = open_corpus(root)
    assert [utterance.text for utterance in parsed.utterances] == ["first"]
    assert _reasons(parsed) == {"id used twice": 1}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing", "no such file or folder; check the path"),
        ("empty", "the folder is empty; unpack the corpus into it"),
        ("other", r"not in the layout of any known corpus; known layouts are .*lj_speech \(LJ Speech\)"),
        ("silent", r"nothing usable in it \(audio missing: 2\); check that the download is whole"),
        ("other/notes.txt", "not in the layout of any known corpus"),
        ("x" * 300, "File name too long; check the path"),
    ],
)
def test_says_why_nothing_can_be_read(path: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("nothing here")
    (tmp_path / "silent" / "wavs").mkdir(parents=True)
    (tmp_path / "silent" / "metadata.csv").write_text("a|one\nb|two\n")
    with pytest.raises(CorpusError, match=message):
        open_corpus(tmp_path / path)


def test_says_that_the_named_layout_does_not_fit(build: Build) -> None:
    with pytest.raises(CorpusError, match="nothing usable in it"):
        open_corpus(build("lj_speech"), "kaldi")


def test_says_which_layouts_there_are(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="choose one of class_folders, common_voice"):
        open_corpus(tmp_path, "timit")


@pytest.mark.parametrize("name", ["kaldi", "lj_speech", "common_voice", "librispeech"])
def test_says_that_a_list_is_not_utf8(name: str, build: Build) -> None:
    root = build(name)
    (path,) = root.glob(LISTS[name])
    path.write_bytes("déjà vu".encode("latin-1"))
    with pytest.raises(CorpusError, match=f"{path.name}: not UTF-8 text"):
        open_corpus(root, name)


LISTS = {
    "kaldi": "train/text",
    "lj_speech": "metadata.csv",
    "common_voice": "en/validated.tsv",
    "librispeech": "test-clean/61/7/61-7.trans.txt",
}

# Bytes that come near to a list, so that the parsers are reached behind their first checks.
WORDS = st.sampled_from(
    [b"u1", b"WAVE/S1/u1.wav", b"LJ001-0001", b"\t", b" ", b"|", b"\n", b'"', b"\x00", b"\xff", b"\r", b"0.1", b"-1"]
)
FRAGMENTS = st.one_of(st.binary(max_size=60), st.lists(WORDS, max_size=30).map(b"".join))
HEADER = b"client_id\tpath\tsentence\n"


@pytest.mark.parametrize(
    ("name", "file", "head"),
    [
        ("kaldi", "train/text", b""),
        ("kaldi", "train/wav.scp", b""),
        ("kaldi", "train/utt2spk", b""),
        ("kaldi", "train/segments", b""),
        ("common_voice", "en/validated.tsv", b""),
        ("common_voice", "en/validated.tsv", HEADER),
        ("lj_speech", "metadata.csv", b""),
        ("librispeech", "dev-clean/84/1/84-1.trans.txt", b""),
        ("crema_d", "processedResults/tabulatedVotes.csv", b""),
        ("crema_d", "processedResults/tabulatedVotes.csv", b'"","A","D","F","H","N","S","fileName"\n'),
        ("tedlium", "train/stm/AaronHuey_2010X.stm", b""),
        ("tedlium", "train/stm/AaronHuey_2010X.stm", b"AaronHuey_2010X 1 u1 0.01 0.05 "),
        ("voxforge", "Ann-20080101-abc/etc/PROMPTS", b""),
        ("voxforge", "Ann-20080101-abc/etc/README", b""),
        ("voxforge", "Ann-20080101-abc/etc/README", b"User Name:"),
        ("jsonl", "manifest.jsonl", b""),
        ("csv", "manifest.csv", b"audio,speaker\naudio/b.wav,"),
    ],
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=FRAGMENTS)
def test_bytes_of_any_kind_give_a_corpus_or_a_clear_error(
    name: str, file: str, head: bytes, content: bytes, tmp_path: Path, build: Build
) -> None:
    root = tmp_path / name
    if not root.exists():
        build(name)
    (root / file).write_bytes(head + content)
    assert _opened_or_refused(root, name)


def _opened_or_refused(root: Path, name: str) -> object:
    """What was read or the remedy of what was wrong; any other exception goes through."""
    try:
        return open_corpus(root, name).utterances
    except AffettoError as error:
        return error.remedy
