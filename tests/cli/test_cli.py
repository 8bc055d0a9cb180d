"""The other verbs, and what all have in common."""

from __future__ import annotations

import csv
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import torch
import typer

import affetto
from affetto.cli.terminal import ProgressBar, extras
from affetto.errors import MissingExtraError
from affetto.packing import pack_language_model

DEMO = Path(affetto.__file__).parent / "demo"
Run = Callable[..., "tuple[int, str, str]"]
TRAIN = ("jiwer", "joblib", "lightning", "scipy", "sklearn", "tensorboard", "tomli_w")
NEED_TRAIN = (  # with files that are not there, which nothing looked for
    "asr evaluate no",
    "asr language-model no --data no",
    "asr pseudo-label no --output no",
    "asr train no --data no",
    "corpus check-split no --by no.toml",
    "evaluate no",
    "experiment recognisers no",
    "experiment run no --data no",
    "experiment table no",
    "probe figures no",
    "probe layers --data no",
    "probe neurons --data no",
    "probe projections --data no",
    "report no",
    "train no --data no",
)


@pytest.fixture
def corpus(tmp_path: Path, make_sound: Callable[..., Path]) -> Path:
    lines = [
        {
            "id": f"u{number}",
            "audio": make_sound(f"{number}.wav").name,
            "speaker": "a",
            "text": "ov ox",
            "emotion": "joy",
        }
        for number in range(3)
    ]
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return manifest


def test_alone_it_shows_help(run: Run) -> None:
    _, out, err = run()
    assert "Usage" in out + err
    assert "recognise" in out + err


@pytest.mark.parametrize(
    "verb",
    [
        "",
        "recognise",
        "train",
        "corpus check",
        "corpus prepare",
        "asr train",
        "asr evaluate",
        "asr transcribe",
        "asr language-model",
        "asr pseudo-label",
        "model pack",
        "model card",
    ],
)
def test_help_teaches_by_example(run: Run, verb: str) -> None:
    code, out, _ = run(*verb.split(), "--help")
    assert code == 0
    assert f"affetto {verb}" in out.split("Options")[0].partition("Usage")[2].partition("\n")[2]


@pytest.mark.parametrize(
    "verb",
    [
        *("recognise", "recognize", "evaluate", "explain", "listen", "serve", "train"),
        *("asr train", "asr evaluate", "asr transcribe", "asr pseudo-label", "experiment run"),
        *("probe neurons", "probe layers", "probe projections"),
    ],
)
def test_whatever_computes_takes_threads(run: Run, verb: str) -> None:
    code, out, _ = run(*verb.split(), "--help")
    assert code == 0
    assert "--threads" in out
    assert run(*verb.split(), "--threads", "0")[0] == 2


def test_a_service_is_set_up_by_the_environment(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFFETTO_MODEL", "enormous")
    code, _, err = run("serve")
    assert (code, "enormous: no such model" in err) == (2, True)
    monkeypatch.setenv("AFFETTO_PORT", "99999")
    code, _, err = run("serve", "--model", "small")  # the command line counts more than the environment
    assert (code, "enormous" in err, "Invalid value for '--port'" in err) == (2, False, True)


def test_so_many_threads_compute(run: Run, tiny_model: Path, make_sound: Callable[..., Path]) -> None:
    before = torch.get_num_threads()
    try:
        assert run("recognise", make_sound(), "--threads", before + 1, "--model", tiny_model)[0] == 0
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("verb", ["recognise", "explain", "listen", "asr transcribe"])
def test_closed_standard_input_is_reported(
    run: Run, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setattr(sys, "stdin", None)  # as after <&-
    code, _, err = run(*verb.split(), "-", "--model", tiny_model)
    assert code in {1, 2}
    assert "affetto: -: standard input is closed; " in err


def test_a_pipe_by_name_gets_the_remedy(run: Run, tiny_model: Path) -> None:
    reading, writing = os.pipe()
    try:
        code, _, err = run("recognise", f"/dev/fd/{reading}", "--model", tiny_model)  # as of <(...)
    finally:
        os.close(reading)
        os.close(writing)
    assert code == 1
    assert "a pipe or a device, not a file; pipe it in and use - for it, or save it first" in err


def test_it_tells_its_version(run: Run) -> None:
    try:
        expected = version("affetto")
    except PackageNotFoundError:
        expected = "unknown (not installed)"
    assert run("--version") == (0, f"affetto {expected}\n", "")


def test_python_runs_it_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "affetto", "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "Usage" in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_completes(shell: str) -> None:
    environment = {"_AFFETTO_COMPLETE": f"complete_{shell}", "COMP_WORDS": "affetto rec", "COMP_CWORD": "1"}
    environment |= {"_TYPER_COMPLETE_ARGS": "affetto rec", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    program = "import sys; sys.argv = ['affetto']; from affetto.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert "recognise" in done.stdout


def test_corpora_are_counted(run: Run, corpus: Path) -> None:
    code, out, _ = run("corpus", "check", corpus, "--format", "json")
    values = json.loads(out)
    assert code == 0
    assert (values["utterances"], values["speakers"], values["emotions"]) == (3, 1, {"joy": 3})


def test_corpora_are_described(run: Run, corpus: Path) -> None:
    _, out, _ = run("corpus", "check", corpus)
    assert "3, 3 of them transcribed" in out


def test_what_is_no_corpus_is_refused(run: Run, tmp_path: Path) -> None:
    code, _, err = run("corpus", "check", tmp_path / "nowhere")
    assert code == 2
    assert "no such file or folder" in err


def test_recognisers_are_scored(run: Run, corpus: Path, tiny_model: Path) -> None:
    code, out, err = run("asr", "evaluate", corpus, "--limit", 2, "--model", tiny_model, "--format", "json")
    values = json.loads(out)
    assert (code, err, values["utterances"]) == (0, "", 2)
    assert values["hours"] == pytest.approx(1 / 3600)
    assert values["real_time_factor"] == pytest.approx(values["compute_s"] / 1.0)
    assert {"corpus", "cer", "wer"} <= set(values)


def test_scores_are_shown(run: Run, corpus: Path, tiny_model: Path) -> None:
    _, out, _ = run("asr", "evaluate", corpus, "--model", tiny_model)
    assert {"CER", "WER", "utterances"} <= {line.split()[0] for line in out.splitlines()}


def test_one_recording_is_its_text(run: Run, tiny_model: Path) -> None:
    code, out, _ = run("asr", "transcribe", DEMO / "sad.flac", "--model", tiny_model)
    assert code == 0
    assert set(out) <= set(" 'abcdefghijklmnopqrstuvwxyz\n")


def test_several_recordings_keep_their_names(run: Run, tiny_model: Path) -> None:
    code, out, err = run("asr", "transcribe", DEMO, "missing.wav", "--model", tiny_model)
    assert [Path(line.split("\t")[0]).stem for line in out.splitlines()] == ["angry", "happy", "neutral", "sad"]
    assert (code, err) == (
        1,
        "affetto: left out, as no recordings: .md 1\naffetto: missing.wav: no such file; check the path\n",
    )


def test_words_come_with_times(run: Run, tiny_model: Path) -> None:
    command = ("asr", "transcribe", DEMO / "sad.flac", "--model", tiny_model)
    text = run(*command)[1].split()
    [transcript] = json.loads(run(*command, "--format", "json")[1])
    assert [word["text"] for word in transcript["words"]] == transcript["text"].split() == text
    assert json.loads(run(*command, "--format", "jsonl")[1]) == transcript
    rows = list(csv.DictReader(run(*command, "--format", "csv")[1].splitlines()))
    assert [row["word"] for row in rows] == text
    assert [float(row["start_s"]) for row in rows] == [word["start_s"] for word in transcript["words"]]
    assert run(*command, "--format", "table")[1].split()[-1] == text[-1]


RECIPE = """
preset = "small"
licence = "CC0"
[[corpora]]
path = "manifest.jsonl"
validation_partition = "test"
"""


def test_a_language_model_is_learnt_packed_and_used(
    run: Run, tmp_path: Path, make_sound: Callable[..., Path], tiny_model: Path
) -> None:
    texts = {"a": "the cat sat", "b": "the cat ran", "c": "a rat sat"}
    lines = [
        {"id": speaker, "audio": make_sound(f"{speaker}.wav", duration_s=2).name, "speaker": speaker, "text": text}
        | {"partition": "test" if speaker == "c" else "train"}
        for speaker, text in texts.items()
    ]
    (tmp_path / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "mine.toml").write_text(RECIPE)
    model = tmp_path / "model"
    command = ("asr", "language-model", tmp_path / "mine.toml", "--data", tmp_path, "--output", tmp_path / "run")
    code, out, err = run(*command, "--order", 3, "--least-gain", 0)
    assert (code, err) == (0, "")
    assert "2 different transcripts, 24 characters" in out
    (tmp_path / "more.txt").write_text("The dog sat.\nthe cat sat\n\n")
    assert "3 different transcripts, 36 characters" in run(*command, "--text", tmp_path / "more.txt")[1]
    code, _, err = run(*command, "--text", tmp_path / "nowhere.txt")
    assert (code, "nowhere.txt: cannot be read" in err) == (2, True)
    run(*command, "--order", 3, "--least-gain", 0)
    again = (tmp_path / "run" / "language.safetensors").read_bytes()
    run(*command, "--order", 3, "--least-gain", 0)
    assert (tmp_path / "run" / "language.safetensors").read_bytes() == again
    shutil.copytree(tiny_model, model)
    pack_language_model(tmp_path / "run", model)
    score = ("asr", "evaluate", tmp_path / "manifest.jsonl", "--model", model, "--format", "json")
    by_folder = run(*score)[1]
    held_out = json.loads(run(*score, "--held-out-by", tmp_path / "mine.toml")[1])
    assert (json.loads(by_folder)["utterances"], held_out["utterances"], held_out["held_out_by"]) == (3, 1, "mine")
    code, _, err = run(*score, "--held-out-by", tmp_path / "mine.toml", "--partition", "train")
    assert (code, "none of the utterances asked for is in this part" in err) == (2, True)
    named = run(
        *("asr", "evaluate", tmp_path / "manifest.jsonl", "--model", tiny_model, "--format", "json"),
        *("--language-model", tmp_path / "run" / "language.safetensors", "--decoder", "beam"),
    )[1]
    assert json.loads(by_folder)["decoder"] == "beam of 32, language model x 0.7, bonus 1.4"
    assert json.loads(by_folder)["cer"] == json.loads(named)["cer"]


def test_decoding_is_as_asked(run: Run, corpus: Path, tiny_model: Path) -> None:
    options = ("--decoder", "beam", "--beam-width", 3)
    _, out, _ = run("asr", "evaluate", corpus, "--model", tiny_model, "--format", "json", *options)
    assert json.loads(out)["decoder"] == "beam of 3"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--language-model", "nowhere.safetensors"), "nowhere.json: cannot be read"),
        (("--decoder", "greedy", "--language-model", "x.safetensors"), "asks no language model"),
        (("--decoder", "beam", "--beam-width", 100_000), "width"),
    ],
)
def test_what_cannot_decode_is_refused(run: Run, tiny_model: Path, options: tuple[object, ...], problem: str) -> None:
    code, _, err = run("asr", "transcribe", DEMO / "sad.flac", "--model", tiny_model, *options)
    assert code == 2
    assert problem in err


@pytest.mark.parametrize("verb", [["train"], ["asr", "train"], ["asr", "language-model"]])
def test_recipes_that_cannot_be_read_are_refused(run: Run, tmp_path: Path, verb: list[str]) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("volume = 11\n")
    code, _, err = run(*verb, recipe, "--data", tmp_path)
    assert code == 2
    assert "volume" in err.splitlines()[-1]
    assert "Traceback" not in err


@pytest.fixture(scope="module")
def without_extras() -> dict[str, list[object]]:
    """The exit code and the complaint of commands where nothing of the extra `train` is installed."""
    program = f"""
import contextlib, io, json, sys
sys.modules.update(dict.fromkeys({TRAIN}))
from affetto.cli import main
answers = {{}}
for command in {NEED_TRAIN}:
    with contextlib.redirect_stderr(io.StringIO()) as error:
        try:
            main(command.split())
        except SystemExit as end:
            answers[command] = end.code, error.getvalue()
print(json.dumps(answers))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("command", NEED_TRAIN)
def test_what_needs_an_extra_says_so_first(command: str, without_extras: dict[str, list[object]]) -> None:
    code, complaint = without_extras[command]
    assert code == 2
    assert re.fullmatch(r'affetto: \w+ is not installed; pip install "affetto\[train\]"\n', str(complaint))


@pytest.mark.parametrize("module", TRAIN)
def test_missing_extras_are_named(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf'{module} is not .*; pip install "affetto\[train\]"'), extras():
        importlib.import_module(module)


def test_other_missing_modules_are_not_hidden() -> None:
    with pytest.raises(ModuleNotFoundError), extras():
        import no_such_module  # noqa: F401


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[ProgressBar]:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")  # as rich asks for it
    monkeypatch.setattr("affetto.cli.terminal.QUIET_S", 0.0)
    with ProgressBar("hearing") as bar:
        yield bar


def test_progress_leaves_standard_output_alone(terminal: ProgressBar, capsys: pytest.CaptureFixture[str]) -> None:
    terminal(1, 3)
    typer.echo("a result")
    terminal.hide()
    terminal(2, 3)
    terminal.hide()
    captured = capsys.readouterr()
    assert captured.out == "a result\n"
    assert "hearing" in captured.err


def test_progress_is_quiet_where_no_one_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("hearing") as bar:
        bar(1, 3)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("own", [None, "ACTIVE"])
def test_threads_wait_asleep_unless_the_user_decided(own: str | None) -> None:
    shown_last = "print(os.environ['OMP_WAIT_POLICY'])"
    code = f"import os\nfrom affetto.cli import main\ntry: main(['--version'])\nexcept SystemExit: {shown_last}"
    given = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    given |= {} if own is None else {"OMP_WAIT_POLICY": own}
    shown = subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == (own or "PASSIVE")
