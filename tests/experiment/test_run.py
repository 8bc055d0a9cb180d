"""A whole experiment on a made-up CREMA-D: its folder, what stops it, how it goes on, and what it refuses."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.predictions import read_tested, read_validated

from affetto.data.check import given_folds, report
from affetto.data.corpora import open_corpus
from affetto.data.manifest import write_manifest
from affetto.data.splits import by_speaker
from affetto.engine import compute, workers
from affetto.errors import (
    AffettoError,
    ConfigError,
    CorpusError,
    LabelError,
    MissingExtraError,
    RunError,
    SplitError,
)
from affetto.evaluate import RunFolder, score
from affetto.experiment import Engine, ExperimentRecipe, grid, run_experiment
from affetto.experiment.plan import Computing, Event, Read, RowDone, RowSkipped
from affetto.experiment.run import ExperimentRun
from affetto.features import functionals
from affetto.models.checkpoint import fingerprint
from affetto.models.network import load_recogniser, save_recogniser
from affetto.report import build_table
from affetto.training.heads.stack import StackTraining
from affetto.training.heads.tasks import Outcome, Task
from affetto.training.heads.unfinished import Snapshot

RECIPE = """
recogniser = "{model}"
corpus = "crema-d"
classes = ["sadness", "anger"]
repeats = 2
stack = 4

[protocol]
kind = "grouped_k_fold"
folds = 4

[training]
epochs = 3
learning_rate = 0.02

[[rows]]
name = "MP-{{x}}"
x = [1, 2]
model = {{ kind = "mean_pooling", layer = "gru{{x}}", standardise = true }}
published.2 = {{ uar = 0.5 }}

[[rows]]
name = "Progressive-2"
repeats = 1
model = {{ kind = "progressive", layer = "gru2", branch = {{ units = 3, depth = 1 }} }}
training = {{ epochs = 2 }}

[[rows]]
name = "Most frequent"
model = {{ kind = "most_frequent" }}
"""
SERIAL = Engine(jobs=1)
SHARES = ([0.75, 0.25], [0.125, 0.875])
"""What a model makes of everyone who validates, and of everyone who is tested."""
ROWS = ("MP-1", "MP-2", "Progressive-2", "Most frequent")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """The folder of all runs, so that they share what was represented."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "recipe.toml").write_text(RECIPE.format(model=tiny_model))
    return folder


@pytest.fixture(scope="module")
def events() -> list[Event]:
    """What the undisturbed run told."""
    return []


@pytest.fixture(scope="module")
def undisturbed(place: Path, data_root: Path, events: list[Event]) -> ExperimentRun:
    return run_experiment(
        place / "recipe.toml", data_root, place / "undisturbed", engine=SERIAL, progress=events.append
    )


@pytest.fixture
def copied(undisturbed: ExperimentRun, place: Path) -> Iterator[Path]:
    """A run folder that may be changed."""
    folder = place / "copied"
    shutil.copytree(undisturbed.folder, folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def rewrite(place: Path, tmp_path: Path) -> Callable[..., Path]:
    """The recipe with something else in it, as a file."""

    def write(*changes: tuple[str, str]) -> Path:
        text = (place / "recipe.toml").read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "recipe.toml").write_text(text)
        return tmp_path / "recipe.toml"

    return write


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever trains, fails."""

    def refuse(*_: object) -> None:
        raise AssertionError("something was trained")

    monkeypatch.setattr(grid, "fit_tasks", refuse)


def _cells(folder: Path) -> dict[str, bytes]:
    """Every file of every finished cell."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob("rows/*/repeat-*/*.csv"))}


def test_every_utterance_is_tested_once_in_every_repeat_of_every_row(undisturbed: ExperimentRun) -> None:
    run = RunFolder(undisturbed.folder)
    everyone = sorted(each.id for each in run.utterances())
    assert len(everyone) == 24
    assert [row.name for row in run.rows()] == [row.name for row in undisturbed.rows] == list(ROWS)
    tested = {
        (row.name, repeat): sorted(each.utterance for each in read_tested(run, row.name) if each.repeat == repeat)
        for row in undisturbed.rows
        for repeat in range(row.repeats)
    }
    assert tested == dict.fromkeys(tested, everyone)
    assert [row.repeats for row in undisturbed.rows] == [2, 2, 1, 2]


def test_who_trains_does_not_test(undisturbed: ExperimentRun) -> None:
    run = RunFolder(undisturbed.folder)
    lines = list(csv.DictReader((run.root / "folds.csv").open()))
    assert {int(line["fold"]) for line in lines} == {0, 1, 2, 3}
    for read, part in ((read_tested, "test"), (read_validated, "validation")):
        heard = {(each.fold, each.speaker) for each in read(run, "MP-2")}
        assert heard == {(int(line["fold"]), line["speaker"]) for line in lines if line["part"] == part}
    assert len({(line["fold"], line["speaker"]) for line in lines}) == len(lines) == 4 * 4


def test_probabilities_keep_their_classes_and_parts_their_speakers(
    data_root: Path, tmp_path: Path, rewrite: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(_model: object, _study: object, tasks: Sequence[Task], *_: object, **__: object) -> Iterator[object]:
        for task in tasks:
            validation, test = ([shares] * len(part) for shares, part in zip(SHARES, task[3:], strict=True))
            yield task, Outcome(np.float32(validation), np.float32(test), (), 1)

    monkeypatch.setattr(grid, "fit_tasks", fit)
    fixed = 'kind = "fixed"\nvalidation = ["1002"]\ntest = ["1003", "crema_d/1004"]'
    recipe = rewrite(('kind = "grouped_k_fold"\nfolds = 4', fixed))
    run = RunFolder(run_experiment(recipe, data_root, tmp_path / "run", engine=SERIAL, only=["Most frequent"]).folder)
    for read, speakers, predicted, shares in (
        (read_validated, {"1002"}, "sadness", SHARES[0]),
        (read_tested, {"1003", "1004"}, "anger", SHARES[1]),
    ):
        found = read(run, "Most frequent")
        assert {each.speaker for each in found} == speakers
        assert {each.predicted for each in found} == {predicted}
        assert found[0].probabilities == dict(zip(("sadness", "anger"), shares, strict=True))


def test_the_folder_tells_all_about_the_run(undisturbed: ExperimentRun, place: Path, tiny_model: Path) -> None:
    run = RunFolder(undisturbed.folder)
    recipe = ExperimentRecipe.read(place / "recipe.toml")
    assert ExperimentRecipe.read(run.root / "config.toml") == recipe
    facts = run.facts()
    assert facts["classes"] == ["sadness", "anger"]
    assert facts["counts"] == {
        "utterances": 24,
        "speakers": 4,
        "folds": 4,
        "emotions": {"sadness": 12, "anger": 12},
    }
    assert facts["unreadable"] == []
    assert {"affetto", "commit", "torch"} <= set(run.environment())
    assert {by_speaker(each) for each in run.utterances()} == {f"crema_d/{name}" for name in range(1001, 1005)}
    rows = {row.name: row for row in run.rows()}
    assert rows["MP-2"].model["layer"] == "gru2"
    assert rows["MP-2"].parameters == 2 * 8 + 2
    assert rows["Most frequent"].parameters == 0
    assert (rows["MP-1"].published, rows["MP-2"].published) == ({}, {"uar": 0.5})
    assert json.loads((run.root / "rows/progressive-2/row.json").read_text())["training"]["epochs"] == 2
    assert {len(curve) for curve in run.curves("Progressive-2").values()} == {2}
    assert {len(curve) for curve in run.curves("Most frequent").values()} == {0}


def test_scores_are_means_over_repeats(undisturbed: ExperimentRun) -> None:
    predictions = read_tested(RunFolder(undisturbed.folder), "MP-1")
    repeats = [score([each for each in predictions if each.repeat == repeat]) for repeat in (0, 1)]
    assert undisturbed.rows[0].scores["uar"] == pytest.approx(np.mean([each.uar for each in repeats]))
    assert undisturbed.rows[0].scores["accuracy"] == pytest.approx(np.mean([each.accuracy for each in repeats]))
    assert undisturbed.rows[3].scores["uar"] == 0.5


def test_it_tells_what_it_does(undisturbed: ExperimentRun, events: list[Event]) -> None:
    assert events[0] == Read(24, 4, {"sadness": 12, "anger": 12}, 4, 28, 0)
    computed = [event for event in events if isinstance(event, Computing)]
    assert [event.done for event in computed] == [*range(9), 16, 24, 28]
    assert computed[0].cost == 0 < computed[1].cost
    assert computed[-1].cost == pytest.approx(computed[-1].total_cost)
    done = {event.row: event.scores for event in events if isinstance(event, RowDone)}
    assert done == {row.name: row.scores for row in undisturbed.rows}


@pytest.mark.usefixtures("no_training")
def test_what_is_finished_is_not_done_again(
    copied: Path, undisturbed: ExperimentRun, place: Path, data_root: Path
) -> None:
    told: list[Event] = []
    run = run_experiment(place / "recipe.toml", data_root, copied, engine=SERIAL, progress=told.append)
    assert run.rows == undisturbed.rows
    assert isinstance(told[0], Read)
    assert told[0].finished == told[0].cells == 28


def test_what_is_missing_is_done_again_to_the_byte(
    copied: Path, undisturbed: ExperimentRun, place: Path, data_root: Path
) -> None:
    shutil.rmtree(copied / "rows/mp-2/repeat-01-fold-02")
    shutil.rmtree(copied / "rows/progressive-2/repeat-00-fold-00")
    shutil.rmtree(copied / "rows/most-frequent")
    (copied / "rows/mp-1/.repeat-00-fold-00.left-by-a-kill").mkdir()
    kept = (copied / "rows/mp-2/repeat-01-fold-01/predictions.csv").stat().st_mtime_ns
    run_experiment(place / "recipe.toml", data_root, copied, engine=SERIAL)
    assert _cells(copied) == _cells(undisturbed.folder)
    assert (copied / "rows/mp-2/repeat-01-fold-01/predictions.csv").stat().st_mtime_ns == kept
    assert not list(copied.glob("rows/*/.*"))


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_byte(undisturbed: ExperimentRun, place: Path, data_root: Path) -> None:
    folder = place / "killed"
    # It stops for good before its third unit of work, with that unit's first cell half written.
    program = f"""
import sys, time
from pathlib import Path
from affetto.evaluate import run_folder
from affetto.experiment import Engine, run_experiment
write, written = run_folder.write_predictions, []
def stop(path, predictions):
    written.append(path)
    if len(written) > 17:
        path.write_text("half")
        print("here", flush=True)
        time.sleep(600)
    write(path, predictions)
run_folder.write_predictions = stop
recipe, data, folder = map(Path, {[str(place / "recipe.toml"), str(data_root), str(folder)]!r})
run_experiment(recipe, data, folder, engine=Engine(jobs=1))
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    with pytest.raises(RunError, match="another run is at work in it"):
        run_experiment(place / "recipe.toml", data_root, folder, engine=SERIAL)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < len(_cells(folder)) < len(_cells(undisturbed.folder))
    assert list(folder.glob("rows/*/.*"))
    run_experiment(place / "recipe.toml", data_root, folder, engine=SERIAL)
    assert _cells(folder) == _cells(undisturbed.folder)
    assert not list(folder.glob("rows/*/.*"))


@pytest.mark.slow
def test_a_killed_training_goes_on_where_it_was(undisturbed: ExperimentRun, place: Path, data_root: Path) -> None:
    folder = place / "killed in training"
    # It is killed in the second epoch of the progressive heads, which are trained together.
    program = f"""
import os, signal
from pathlib import Path
from affetto.experiment import Engine, run_experiment
from affetto.models.heads.kinds import ProgressiveConfig
from affetto.training.heads import unfinished
from affetto.training.heads.stack import StackTraining
unfinished.Unfinished.__init__.__defaults__ = (0,)
run_epoch = StackTraining.run_epoch
def stop(self):
    if self.epoch == 1 and isinstance(self.heads[0].config, ProgressiveConfig):
        os.kill(os.getpid(), signal.SIGKILL)
    run_epoch(self)
StackTraining.run_epoch = stop
recipe, data, folder = map(Path, {[str(place / "recipe.toml"), str(data_root), str(folder)]!r})
run_experiment(recipe, data, folder, engine=Engine(jobs=1))
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -signal.SIGKILL
    assert [path.name for path in folder.glob("rows/*/unfinished*")] == ["unfinished-00-00.safetensors"]
    begun: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        resume = StackTraining.resume

        def noted(self: StackTraining, snapshot: Snapshot) -> None:
            resume(self, snapshot)
            begun.append(self.epoch)

        patch.setattr(StackTraining, "resume", noted)
        run_experiment(place / "recipe.toml", data_root, folder, engine=SERIAL)
    assert begun == [1]
    assert _cells(folder) == _cells(undisturbed.folder)
    assert not list(folder.glob("rows/*/unfinished*"))


@pytest.mark.slow
def test_processes_find_the_same(undisturbed: ExperimentRun, place: Path, data_root: Path) -> None:
    run = run_experiment(place / "recipe.toml", data_root, place / "processes", engine=Engine(jobs=2))
    assert _cells(run.folder) == _cells(undisturbed.folder)


@pytest.mark.slow
def test_workers_end_with_the_run_that_was_killed(place: Path, data_root: Path) -> None:
    program = """
import os, time
from affetto.engine import Engine, compute, workers
def work(unit):
    if unit:
        os.write(1, f"{os.getpid()}\\n".encode())  # in one piece: they share the pipe
        time.sleep(600)
if __name__ == "__main__":
    with workers(Engine(jobs=2), 2) as those:
        list(compute(work, [1, 1], those))
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    workers = [int(process.stdout.readline()) for _ in range(2)]
    assert process.pid not in workers
    process.kill()
    process.wait()
    deadline = time.monotonic() + 120
    while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [worker for worker in workers if Path(f"/proc/{worker}").exists()]


def _die(unit: int) -> int:
    if unit == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return unit


@pytest.mark.slow
def test_a_worker_that_dies_is_reported() -> None:
    with (
        pytest.raises(RunError, match=r"a worker died .*; run the same command again, with fewer --jobs"),
        workers(Engine(jobs=2), units=2) as those,
    ):
        list(compute(_die, [1, 2], those))


@pytest.mark.slow
def test_ray_finds_the_same(undisturbed: ExperimentRun, place: Path, data_root: Path) -> None:
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        engine = Engine(kind="ray", jobs=2)
        run = run_experiment(place / "recipe.toml", data_root, place / "ray", engine=engine)
    finally:
        ray.shutdown()
    assert _cells(run.folder) == _cells(undisturbed.folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("seed", "repeats = 2", "repeats = 2\nseed = 7"), r"seed \(7, was 1\)"),
        (("training", "learning_rate = 0.02", "learning_rate = 0.03"), r"training.learning_rate \(0.03, was 0.02\)"),
        (("model", "units = 3", "units = 5"), r"rows.Progressive-2.model.branch.units \(5, was 3\)"),
        (("repeats", "repeats = 2", "repeats = 1"), r"rows.MP-1.repeats \(1, was 2\)"),
        (("gone", '[[rows]]\nname = "Most frequent"\nmodel = { kind = "most_frequent" }', ""), "rows.Most frequent"),
        (("protocol", "folds = 4", "folds = 3"), r"protocol.folds \(3, was 4\)"),
        (("classes", '["sadness", "anger"]', '["anger", "sadness"]'), "classes"),
        (("labels", "stack = 4", 'stack = 4\nlabels = { merge = { disgust = "anger" } }'), "the utterances or their"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
@pytest.mark.usefixtures("no_training")
def test_a_folder_of_another_experiment_is_refused(
    copied: Path, data_root: Path, rewrite: Callable[..., Path], change: tuple[str, str, str], message: str
) -> None:
    before = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match=f"belongs to another experiment; other than there: .*{message}"):
        run_experiment(rewrite(change[1:]), data_root, copied, engine=SERIAL)
    assert {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()} == before


def test_rows_and_repeats_may_be_added(
    copied: Path, undisturbed: ExperimentRun, data_root: Path, rewrite: Callable[..., Path]
) -> None:
    more = '[[rows]]\nname = "Random"\nmodel = { kind = "random" }\nrepeats = 1\n\n[[rows]]\nname = "Most frequent"'
    recipe = rewrite(("repeats = 1", "repeats = 2"), ('[[rows]]\nname = "Most frequent"', more))
    run = run_experiment(recipe, data_root, copied, engine=SERIAL)
    assert [row.name for row in RunFolder(copied).rows()] == [*ROWS[:3], "Random", ROWS[3]]
    assert {row.name: row.repeats for row in run.rows}["Progressive-2"] == 2
    assert _cells(undisturbed.folder).items() < _cells(copied).items()
    assert ExperimentRecipe.read(copied / "config.toml") == ExperimentRecipe.read(recipe)


def test_a_folder_from_before_a_setting_was_there_goes_on(
    copied: Path, undisturbed: ExperimentRun, place: Path, data_root: Path
) -> None:
    config = copied / "config.toml"
    older = "".join(line for line in config.read_text().splitlines(True) if not line.startswith("hidden = 0"))
    assert older != config.read_text()
    config.write_text(older)
    run = run_experiment(place / "recipe.toml", data_root, copied, engine=SERIAL)
    assert run.rows == undisturbed.rows


def test_only_some_rows(place: Path, data_root: Path) -> None:
    run = run_experiment(place / "recipe.toml", data_root, place / "some", engine=SERIAL, only=["Most frequent"])
    assert [row.name for row in run.rows] == ["Most frequent"]
    assert [row.name for row in RunFolder(run.folder).rows()] == ["Most frequent"]


def test_a_folder_in_use_is_refused(copied: Path, place: Path, data_root: Path) -> None:
    with (copied / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="another run is at work in it; wait for it"):
            run_experiment(place / "recipe.toml", data_root, copied, engine=SERIAL)


def test_a_folder_with_other_things_is_refused(place: Path, data_root: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match=r"holds other things \(thesis.tex\); give an empty or new --output"):
        run_experiment(place / "recipe.toml", data_root, tmp_path, engine=SERIAL)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


LAST = 'model = { kind = "most_frequent" }'


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (('"crema-d"', '"crema"'), CorpusError, "no such file or folder"),
        (('"crema-d"', '"empty"'), CorpusError, "the folder is empty"),
        (('"crema-d"', '"other"'), CorpusError, "not in the layout of any known corpus"),
        (('"crema-d"', '"gone.jsonl"'), CorpusError, r"2 sound file\(s\) missing, that of b among them"),
        (('["sadness", "anger"]', '["sadness", "joy"]'), LabelError, "no utterance counts as joy"),
        (("folds = 4", "folds = 5"), SplitError, "5 folds"),
        (('"crema-d"', '"one-class.jsonl"'), SplitError, "fold 0: .* to train on"),
        (('layer = "gru2"', 'layer = "gru9"'), ConfigError, "no layer 'gru9'; choose one of conv1, gru1, gru2"),
        (("stack", "stacks"), ConfigError, "stacks: Extra inputs"),
        (("epochs = 2", "epoch = 2"), ConfigError, "rows.2.training.epoch: Extra inputs"),
        (("units = 3", "unit = 3"), ConfigError, r"rows.2.model.branch.unit: Extra inputs"),
        (("repeats = 2", 'repeats = "two"'), ConfigError, "repeats: "),
        (('kind = "most_frequent"', 'kind = "least_frequent"'), ConfigError, "rows.3.model: "),
        (('"Most frequent"', '"mp 1"'), ConfigError, "rows: .*alike in all but punctuation: MP-1, mp 1"),
        (('"grouped_k_fold"', '"k_fold"'), ConfigError, "protocol: "),
    ],
)
@pytest.mark.usefixtures("no_training")
def test_what_is_wrong_is_said_before_anything_is_computed(
    data_root: Path,
    tmp_path: Path,
    rewrite: Callable[..., Path],
    change: tuple[str, str],
    error: type[AffettoError],
    message: str,
) -> None:
    root = tmp_path / "data"
    _write_corpora(root, data_root)
    with pytest.raises(error, match=message):
        run_experiment(rewrite(change), root, tmp_path / "run", engine=SERIAL)
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "cache").exists()


def _write_corpora(root: Path, data_root: Path) -> None:
    """The made-up corpus, and faulty ones."""
    (root / "empty").mkdir(parents=True)
    (root / "other").mkdir()
    (root / "other" / "notes.txt").write_text("nothing spoken")
    (root / "crema-d").symlink_to(data_root / "crema-d")
    sounds = sorted((data_root / "crema-d" / "AudioWAV").iterdir())

    def write(name: str, lines: list[dict[str, str]]) -> None:
        (root / name).write_text("".join(json.dumps(line) + "\n" for line in lines))

    emotions = ("sadness", "anger")
    gone = {"audio": str(sounds[0]), "speaker": "a", "emotion": "anger"}
    write("gone.jsonl", [gone, *({**gone, "audio": f"{name}.wav"} for name in "bc")])
    # One speaker is sad, three are angry: whoever does not train with the first learns one class.
    write(
        "one-class.jsonl",
        [
            {"audio": str(sound), "speaker": str(number % 4), "emotion": emotions[number % 4 > 0]}
            for number, sound in enumerate(sounds)
        ],
    )


@pytest.mark.usefixtures("no_training")
def test_a_row_that_is_none(place: Path, data_root: Path) -> None:
    with pytest.raises(ConfigError, match="no row MP-3; choose among MP-1, MP-2, Progressive-2, Most frequent"):
        run_experiment(place / "recipe.toml", data_root, place / "none", only=["MP-3"])


@pytest.fixture
def no_opensmile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functionals, "available", lambda: False)


SVM = (
    'name = "Most frequent"\n' + LAST,
    'name = "SVM"\nmodel = { kind = "functionals_svm", feature_set = "eGeMAPSv02" }',
)


@pytest.mark.usefixtures("no_opensmile")
def test_rows_without_their_extra_are_skipped(place: Path, data_root: Path, rewrite: Callable[..., Path]) -> None:
    told: list[Event] = []
    run = run_experiment(
        rewrite(SVM), data_root, place / "skipping", engine=SERIAL, only=["MP-1", "SVM"], progress=told.append
    )
    assert [row.name for row in run.rows] == ["MP-1"]
    assert list(run.skipped) == ["SVM"]
    assert 'pip install "affetto[classical]"' in run.skipped["SVM"]
    assert [event.row for event in told if isinstance(event, RowSkipped)] == ["SVM"]


@pytest.mark.usefixtures("no_opensmile", "no_training")
def test_no_row_is_left(place: Path, data_root: Path, rewrite: Callable[..., Path]) -> None:
    with pytest.raises(MissingExtraError, match="no row can be computed: opensmile is not installed"):
        run_experiment(rewrite(SVM), data_root, place / "left", only=["SVM"])


def test_unreadable_sound_is_left_out_and_counted(
    data_root: Path, tmp_path: Path, rewrite: Callable[..., Path]
) -> None:
    folder = tmp_path / "data" / "crema-d" / "AudioWAV"
    shutil.copytree(data_root / "crema-d" / "AudioWAV", folder)
    (folder / "1001_IEO_ANG_XX.wav").write_bytes(b"no sound")
    arguments = (rewrite(), tmp_path / "data", tmp_path / "run")
    run = run_experiment(*arguments, engine=SERIAL, only=["MP-1", "Most frequent"])
    assert run.unreadable == 1
    assert RunFolder(run.folder).facts()["unreadable"] == ["1001_IEO_ANG_XX"]
    for row in ("MP-1", "Most frequent"):
        predictions = read_tested(RunFolder(run.folder), row)
        assert len(predictions) == 2 * 23
        assert "1001_IEO_ANG_XX" not in {each.utterance for each in predictions}

    for path in folder.glob("1001_*_ANG_XX.wav"):
        path.write_bytes(b"no sound")
    with pytest.raises(RunError, match="other than there: which sound can be read"):
        run_experiment(*arguments, engine=SERIAL, only=["MP-1"])
    for path in folder.glob("1001_*.wav"):
        path.write_bytes(b"no sound")
    with pytest.raises(SplitError, match=r"no sound of its .* part can be read"):
        run_experiment(*arguments[:2], tmp_path / "other", engine=SERIAL, only=["MP-1"])


def test_two_corpora_may_share_names(data_root: Path, tmp_path: Path, rewrite: Callable[..., Path]) -> None:
    read = open_corpus(data_root / "crema-d").utterances
    both = [*(each for each in read if each.speaker != "1004"), *(replace(each, corpus="again") for each in read)]
    write_manifest(tmp_path / "both.jsonl", both)
    recipe = rewrite(('"crema-d"', '"both.jsonl"'))
    done = run_experiment(recipe, tmp_path, tmp_path / "run", engine=SERIAL, only=["MP-1", "Most frequent"])
    predictions = read_tested(RunFolder(done.folder), "MP-1")
    assert len({each.utterance for each in predictions}) == len({(each.fold, each.utterance) for each in predictions})
    assert {each.speaker for each in predictions} == {
        "1004",
        *(f"{corpus}/{name}" for corpus in ("again", "crema_d") for name in (1001, 1002, 1003)),
    }
    assert report(given_folds(done.folder)).never_tested == 0
    assert [row.name for row in build_table(RunFolder(done.folder)).rows] == ["MP-1", "Most frequent"]


def test_speakers_are_compared_with_themselves(place: Path, data_root: Path, rewrite: Callable[..., Path]) -> None:
    row = 'name = "Own-{x}"\nx = [1]\nby_speaker = true\nmodel = { kind = "mean_pooling", layer = "gru{x}" }'
    recipe = rewrite(('[[rows]]\nname = "Most', f'[[rows]]\n{row}\n\n[[rows]]\nname = "Most'))
    done = run_experiment(recipe, data_root, place / "own", engine=SERIAL, only=["MP-1", "Own-1"])
    run, speakers = RunFolder(done.folder), {"1001", "1002", "1003", "1004"}
    assert run.config()["rows"][-2]["by_speaker"] is True
    plain, own = (
        {(each.repeat, each.utterance): each.probabilities for each in read_tested(run, row)}
        for row in ("MP-1", "Own-1")
    )
    assert plain.keys() == own.keys()
    assert {name[:4] for _, name in own} == speakers
    assert all(plain[key] != own[key] for key in plain)


def test_another_recogniser_than_the_recipes(place: Path, data_root: Path, tiny_model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    model, _ = load_recogniser(tiny_model / "recogniser.safetensors")
    with torch.no_grad():
        next(model.parameters()).add_(1.0)
    save_recogniser(other / "recogniser.safetensors", model, {"validation_cer": 0.25})
    done = run_experiment(
        place / "recipe.toml", data_root, place / "other", recogniser=str(other), engine=SERIAL, only=["MP-1"]
    )
    run = RunFolder(done.folder)
    assert run.config()["recogniser"] == str(other)
    assert run.facts()["recogniser_cer"] == 0.25
    assert run.facts()["encoder_fingerprint"] == fingerprint(model)
