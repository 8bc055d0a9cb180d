"""Experiments over several corpora: whose data they are, who is held out, and that what is held out is only scored."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tomli_w
from sklearn.metrics import balanced_accuracy_score
from tests.predictions import read_tested
from typer.testing import CliRunner

from affetto.cli import app
from affetto.data.manifest import write_manifest
from affetto.data.splits import by_speaker
from affetto.data.utterance import Utterance
from affetto.errors import AffettoError, ConfigError, CorpusError, LabelError, SplitError
from affetto.evaluate import RunFolder
from affetto.experiment import Engine, ExperimentRecipe, run_experiment, train_emotion
from affetto.experiment.plan import facts, load_data
from affetto.report import build_table
from affetto.report.render import to_csv, to_markdown, to_values

CORPORA = ("north", "south", "west")
PITCH = {"anger": 260.0, "sadness": 110.0}
ROWS = [
    {"name": "MP", "model": {"kind": "mean_pooling", "layer": "gru2", "standardise": True}},
    {"name": "Most frequent", "model": {"kind": "most_frequent"}},
]
LEFT_OUT = {"kind": "leave_one_corpus_out", "validation_share": 0.4}
SERIAL = Engine(jobs=1)


def _make(root: Path, corpus: str, *, louder: float = 1.0, labels: tuple[str, str] = ("anger", "sadness")) -> None:
    """A corpus of three speakers, whose names and ids are those of every other corpus."""
    (root / corpus).mkdir(parents=True)
    rng, time_s = np.random.default_rng(len(corpus)), np.arange(4800) / 16_000
    said = []
    for place, speaker in enumerate(("ann", "bob", "cyd")):
        for number in range(4):
            emotion = labels[number % 2]
            pitch = PITCH.get(emotion, 180.0) + 9 * place + 20 * CORPORA.index(corpus) + rng.normal()
            wave = 0.02 * louder * (np.sin(2 * np.pi * pitch * time_s) + 0.1 * rng.standard_normal(len(time_s)))
            path = root / corpus / f"{speaker}-{number}.wav"
            soundfile.write(path, wave, 16_000)
            said.append(Utterance(id=path.stem, audio=path, speaker=speaker, corpus=corpus, emotion=emotion))
    write_manifest(root / corpus / "manifest.jsonl", said)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("three")
    for corpus in CORPORA:
        _make(root, corpus)
    return root


def _recipe(**settings: Any) -> ExperimentRecipe:
    values = {"corpora": list(CORPORA), "classes": ["anger", "sadness"], "protocol": LEFT_OUT, "rows": ROWS}
    return ExperimentRecipe.parse({**values, **settings})


@pytest.fixture
def run(tiny_model: Path, tmp_path: Path) -> Callable[..., RunFolder]:
    """Runs the recipe on some data into a folder of its own."""

    def start(root: Path, name: str = "run", protocol: str = LEFT_OUT["kind"]) -> RunFolder:  # type: ignore[assignment]
        rules = {
            "leave_one_corpus_out": 'kind = "leave_one_corpus_out"\nvalidation_share = 0.4',
            "fixed": 'kind = "fixed"\nby = "corpus"\ntest = ["south", "west"]\nvalidation_share = 0.4',
        }
        recipe = tmp_path / f"{name}.toml"
        recipe.write_text(
            f'recogniser = "{tiny_model}"\ncorpora = ["north", "south", "west"]\nclasses = ["anger", "sadness"]\n'
            f"[protocol]\n{rules[protocol]}\n[training]\nepochs = 4\nlearning_rate = 0.02\n"
            '[[rows]]\nname = "MP"\nrepeats = 2\n'
            'model = { kind = "mean_pooling", layer = "gru2", standardise = true }\n'
            '[[rows]]\nname = "Most frequent"\nmodel = { kind = "most_frequent" }\n'
        )
        return RunFolder(run_experiment(recipe, root, tmp_path / name / "run", engine=SERIAL).folder)

    return start


def test_each_corpus_is_tested_by_what_the_others_trained(three: Path) -> None:
    data = load_data(_recipe(), three)
    assert [{each.corpus for each in split.test} for split in data.splits] == [{"north"}, {"south"}, {"west"}]
    for split in data.splits:
        others = {each.corpus for each in (*split.train, *split.validation)}
        assert others == set(CORPORA) - {each.corpus for each in split.test}
        assert not {by_speaker(each) for each in split.train} & {by_speaker(each) for each in split.validation}
    assert facts(data, "")["counts"]["corpora"] == dict.fromkeys(CORPORA, 12)
    assert data.speakers == 9


def test_some_corpora_train_and_others_are_tested(three: Path) -> None:
    protocol = {"kind": "fixed", "by": "corpus", "test": ["south", "west"], "validation_share": 0.3}
    (split,) = load_data(_recipe(protocol=protocol), three).splits
    assert [{each.corpus for each in part} for part in (split.train, split.validation, split.test)] == [
        {"north"},
        {"north"},
        {"south", "west"},
    ]


def test_the_division_names_the_corpora(three: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "across.toml"
    recipe.write_text(tomli_w.dumps(_recipe().resolved()))
    shown = CliRunner().invoke(app, ["corpus", "check-split", str(three), "--by", str(recipe)])
    lines = [line.split() for line in shown.output.splitlines()]
    assert ["0", "train", "south,", "west"] in [line[:4] for line in lines]
    assert [line[:2] for line in lines if line[:1] == ["test"]] == [["test", name] for name in CORPORA]


def test_labels_may_differ_from_corpus_to_corpus(three: Path, tmp_path: Path) -> None:
    shutil.copytree(three, tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "west")
    _make(tmp_path / "data", "west", labels=("rage", "sadness"))
    rage = {"path": "west", "labels": {"merge": {"rage": "anger"}}}
    data = load_data(_recipe(corpora=["north", "south", rage]), tmp_path / "data")
    assert data.counts == {"anger": 18, "sadness": 18}


def test_a_corpus_may_lack_a_class_that_others_have(
    three: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(three, tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "west")
    _make(tmp_path / "data", "west", labels=("rage", "sadness"))
    assert load_data(_recipe(), tmp_path / "data").counts == {"anger": 12, "sadness": 18}
    assert "no utterance of west counts as anger" in caplog.text
    with pytest.raises(LabelError, match=r"north.*: no utterance counts as joy, calm"):
        load_data(_recipe(classes=["joy", "calm"]), tmp_path / "data")
    with pytest.raises(SplitError, match=r"fold 2: no rage to train on"):
        load_data(_recipe(classes=["rage", "anger", "sadness"]), tmp_path / "data")


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"corpora": ["north", "nowhere"]}, CorpusError, "nowhere: no such file or folder"),
        ({"corpora": ["north", "south/manifest.jsonl", "south"]}, CorpusError, "the corpus south is in .*, too"),
        ({"corpora": ["north"]}, SplitError, "all utterances are of north"),
        (
            {"protocol": {"kind": "fixed", "by": "corpus", "test": ["east"], "validation_share": 0.3}},
            SplitError,
            "east",
        ),
        (
            {"protocol": {"kind": "fixed", "test": ["ann"], "validation_share": 0.3}},
            SplitError,
            "north/ann or south/ann",
        ),
    ],
)
def test_faults_are_named_before_anything_is_computed(
    settings: dict[str, Any], error: type[AffettoError], message: str, three: Path
) -> None:
    with pytest.raises(error, match=message):
        load_data(_recipe(**settings), three)


@pytest.mark.parametrize("named", [{}, {"corpus": "north", "corpora": ["south"]}, {"corpora": []}])
def test_either_one_corpus_or_several(named: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="corp"):
        ExperimentRecipe.parse({"rows": ROWS, **named})


def _learnt(found: RunFolder, fold: int) -> list[list[str]]:
    """All that a fold shows of its training: losses, learning rates, the epoch chosen, what it makes of validation."""
    cells = [found.cell("MP", (repeat, fold)) for repeat in range(2)]
    files = [cell / name for cell in cells for name in ("curve.csv", "validation.csv")]
    return [row for file in files for row in csv.reader(file.open())]


@pytest.mark.parametrize(("changed", "touched"), [("west", False), ("north", True)])
def test_what_is_held_out_touches_nothing_but_its_own_scores(
    changed: str, touched: bool, three: Path, tmp_path: Path, run: Callable[..., RunFolder]
) -> None:
    """The fold of "west", once more with other sound and labels in it: scaling, epochs and losses are as before."""
    shutil.copytree(three, tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / changed)
    _make(tmp_path / "data", changed, louder=20.0, labels=("sadness", "anger"))
    before, after = run(three, "before"), run(tmp_path / "data", "after")
    assert (_learnt(before, 2) != _learnt(after, 2)) is touched
    tested = [[each.probabilities for each in read_tested(found, "MP") if each.fold == 2] for found in (before, after)]
    assert tested[0] != tested[1]


@pytest.mark.parametrize(
    ("protocol", "folds"),
    [("leave_one_corpus_out", {"north": (0,), "south": (1,), "west": (2,)}), ("fixed", {"south": (0,), "west": (0,)})],
)
def test_scores_by_tested_corpus(
    protocol: str, folds: dict[str, tuple[int, ...]], three: Path, run: Callable[..., RunFolder]
) -> None:
    found = run(three, protocol=protocol)
    table, predictions = build_table(found), read_tested(found, "MP")
    row = table.rows[0]
    assert {name: figures.folds for name, figures in row.corpora.items()} == folds
    for name, figures in row.corpora.items():
        own = [[each for each in predictions if each.repeat == repeat and name in each.speaker] for repeat in range(2)]
        assert [len(each) for each in own] == [12, 12]
        uars = [balanced_accuracy_score([e.reference for e in one], [e.predicted for e in one]) for one in own]
        assert figures.main.mean == pytest.approx(np.mean(uars))
    values, last = to_values(table)["rows"][0], list(folds)[-1]
    assert values["corpora"][last]["uar"]["mean"] == row.corpora[last].main.mean
    (line, *_) = csv.DictReader(to_csv(table).splitlines())
    assert float(line[f"corpora_{last}_uar_mean"]) == row.corpora[last].main.mean
    assert "**UAR by tested corpus**" in to_markdown(table)
    assert any(f"{last} in fold {folds[last][0]}" in note for note in table.notes)


def test_an_emotion_head_of_several_corpora(three: Path, tmp_path: Path, tiny_model: Path) -> None:
    recipe = tmp_path / "many.toml"
    recipe.write_text(
        f'recogniser = "{tiny_model}"\ncorpora = ["north", "south"]\nclasses = ["anger", "sadness"]\n'
        'validation_speakers = ["north/bob"]\ntest_speakers = ["north/cyd", "south/cyd"]\n'
        '[head]\nkind = "mean_pooling"\nlayer = "gru2"\n[training]\nepochs = 2\n'
    )
    found = train_emotion(recipe, three, tmp_path / "run")
    assert found.counts == (12, 4, 8)
