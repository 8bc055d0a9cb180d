"""Clips without transcripts become a corpus where recognisers agree."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

import affetto
from affetto.data.corpora import open_corpus
from affetto.data.prepare import LEFT_OUT, MANIFEST
from affetto.errors import CheckpointError, ConfigError, CorpusError
from affetto.pretrained import find
from affetto.pseudo_labels import pseudo_label
from affetto.transcribe import Transcriber

Run = Callable[..., "tuple[int, str, str]"]
DEMO = sorted((Path(affetto.__file__).parent / "demo").glob("*.flac"))


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The embedded recogniser under another name, without its language model: greedy, so not always of one mind."""
    folder = tmp_path_factory.mktemp("models") / "twin"
    shutil.copytree(find("tiny"), folder)
    for each in folder.glob("language.*"):
        each.unlink()
    return str(folder)


def test_what_is_agreed_on_is_a_corpus_with_the_first_transcripts(tmp_path: Path, twin: str) -> None:
    broken = tmp_path / "broken.flac"
    broken.write_bytes(DEMO[0].read_bytes()[:4000])
    made = pseudo_label([*DEMO, broken], ["tiny", twin], tmp_path / "out", most_apart=0.3)
    written = {each.audio: each.text for each in open_corpus(tmp_path / "out").utterances}
    transcripts = Transcriber.from_pretrained("tiny").transcribe_many(DEMO)
    assert written == {path: each.text for path, each in zip(DEMO, transcripts, strict=True)}
    assert made.utterances == len(DEMO)
    assert len({each.speaker for each in open_corpus(tmp_path / "out").utterances}) == len(DEMO)
    with (tmp_path / "out" / LEFT_OUT).open(newline="", encoding="utf-8") as file:
        (left_out,) = csv.DictReader(file)
    assert left_out["what"] == str(broken)
    assert made.reasons == {left_out["reason"]: 1}
    assert made.unreadable == 1


def test_what_is_not_agreed_on_is_left_out(tmp_path: Path, twin: str) -> None:
    made = pseudo_label(DEMO, [twin, "tiny", "small"], tmp_path, most_apart=0.4)
    assert made.reasons == {"transcripts disagree": len(DEMO) - made.utterances}
    assert 0 < made.utterances < len(DEMO)


def test_nothing_is_transcribed_twice(tmp_path: Path, twin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pseudo_label(DEMO, ["tiny", twin], tmp_path, most_apart=0.3)
    manifest = (tmp_path / MANIFEST).read_text()
    journals = sorted(tmp_path.glob("transcripts-*.jsonl"))
    for journal in journals:  # as after a sudden end
        journal.write_bytes(journal.read_bytes()[:-9])
    asked: list[list[Path]] = []
    whole = Transcriber.transcribe_many

    def watched(self: Transcriber, sources: Iterable[Path], progress: object = None) -> object:
        asked.append(list(sources))
        return whole(self, asked[-1])

    monkeypatch.setattr(Transcriber, "transcribe_many", watched)
    pseudo_label(DEMO, ["tiny", twin], tmp_path, most_apart=0.3)
    pseudo_label(DEMO, ["tiny", twin], tmp_path, most_apart=0.3)
    assert asked == [DEMO[-1:], DEMO[-1:], [], []]
    assert (tmp_path / MANIFEST).read_text() == manifest
    assert [len({json.loads(line)[0] for line in each.read_text().splitlines()[:3]}) for each in journals] == [3, 3]


@pytest.mark.parametrize(
    ("models", "error"), [(["tiny"], ConfigError), (["tiny", "tiny"], ConfigError), (["tiny", "none"], CheckpointError)]
)
def test_which_recognisers_there_have_to_be(tmp_path: Path, models: list[str], error: type[Exception]) -> None:
    with pytest.raises(error):
        pseudo_label(DEMO, models, tmp_path)


def test_a_copy_of_a_recogniser_is_no_other(tmp_path: Path) -> None:
    shutil.copytree(find("tiny"), tmp_path / "copy")
    with pytest.raises(ConfigError, match="agrees with itself"):
        pseudo_label(DEMO, ["tiny", str(tmp_path / "copy")], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_agreement_on_nothing_says_why(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"agree on nothing \(transcripts disagree: \d"):
        pseudo_label(DEMO, ["tiny", "small"], tmp_path, most_apart=0.0)


def test_the_shell_says_what_is_in_the_corpus_and_what_is_not(run: Run, tmp_path: Path, twin: str) -> None:
    (tmp_path / "broken.flac").write_bytes(DEMO[0].read_bytes()[:4000])
    command = ("asr", "pseudo-label", DEMO[0].parent, tmp_path / "broken.flac", "--output", tmp_path / "out")
    code, out, _ = run(*command, "--models", f"tiny,{twin}", "--most-apart", "0.3", "--format", "json")
    values = json.loads(out)
    assert (code, values["utterances"], values["unreadable"]) == (1, len(DEMO), 1)
    code, out, err = run(*command, "--models", f"tiny,{twin}", "--most-apart", "0.3")
    assert (code, err) == (1, "affetto: left out, as no recordings: .md 1\n")
    assert LEFT_OUT in "".join(out.split())


def test_standard_input_is_no_clip(run: Run, tmp_path: Path, twin: str) -> None:
    code, _, err = run("asr", "pseudo-label", "-", "--output", tmp_path, "--models", f"tiny,{twin}")
    assert (code, err) == (2, "affetto: -: standard input is no clip; name files or folders\n")
