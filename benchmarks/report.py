"""What a report costs: a run of the size of the paper's table on CREMA-D is made up, and its report timed.

Run: OMP_NUM_THREADS=1 python benchmarks/report.py [--folder FOLDER] [--profile]. 16 rows over 10 folds of 91 speakers
and 4,900 utterances, ten repeats of each row that is cheap to train; the predictions are drawn, not learnt, and are
about as good, as sure and as mixed up as real ones. Prints the seconds of each step; with --profile, what took longest.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from affetto.data.splits import Split
from affetto.data.utterance import Utterance
from affetto.evaluate import Prediction, Row, RunFolder
from affetto.report import build_table, write_report
from affetto.training.heads.tasks import Epoch

CLASSES = ("anger", "happiness", "neutral", "sadness")
SPEAKERS, UTTERANCES, FOLDS = 91, 4_900, 10


class Model(NamedTuple):
    """A row: how well it hears, how much too sure it is, how often it is repeated, and whether it learns in epochs."""

    name: str
    model: dict[str, Any]
    skill: float
    sharpness: float = 1.4
    repeats: int = 1
    epochs: int = 12


def models() -> list[Model]:
    """The rows of a table like the paper's."""
    branch = {"units": 64, "depth": 2}
    return [
        Model("Most frequent class", {"kind": "most_frequent"}, 0.0, 1.0, 1, 0),
        Model("Random prediction", {"kind": "random"}, 0.0, 1.0, 10, 0),
        Model("ComParE_2016 + SVM", {"kind": "functionals_svm", "feature_set": "ComParE_2016"}, 2.1, 1.0, 1, 0),
        *(
            Model(f"Baseline {units} units", {"kind": "baseline", "branch": {**branch, "units": units}}, skill)
            for units, skill in ((64, 2.05), (96, 2.1), (128, 2.12))
        ),
        *(
            Model(f"Fine-tuning MP-{x}", {"kind": "mean_pooling", "layer": f"gru{x}"}, skill, 0.9, 10, 40)
            for x, skill in ((1, 1.6), (2, 1.75), (3, 1.8), (4, 1.7))
        ),
        *(
            Model(f"Fine-tuning RNN-{x}", {"kind": "recurrent", "layer": f"gru{x}", "units": 64}, skill)
            for x, skill in ((1, 2.05), (2, 2.1), (3, 2.0))
        ),
        *(
            Model(f"Progressive net-{x}", {"kind": "progressive", "layer": f"gru{x}", "branch": branch}, skill)
            for x, skill in ((1, 2.15), (2, 2.2), (3, 2.25))
        ),
    ]


class Crowd:
    """Speakers, each clearer or less clear than others, and what they say, each utterance harder or easier."""

    def __init__(self, rng: np.random.Generator) -> None:
        clear = rng.normal(0, 0.5, SPEAKERS)
        self.speaker = np.arange(UTTERANCES) % SPEAKERS
        self.emotion = (np.arange(UTTERANCES) // SPEAKERS) % len(CLASSES)
        self.fold = self.speaker % FOLDS
        mixed = np.array([[0, 0.9, 0.2, 0], [0.8, 0, 0.7, 0.3], [0.2, 0.5, 0, 0.9], [0, 0.2, 1.1, 0]])
        own = (1 + clear[self.speaker])[:, None] * np.eye(len(CLASSES))[self.emotion]
        self.logits = 1.2 * own + 0.7 * mixed[self.emotion] + rng.normal(0, 0.7, (UTTERANCES, len(CLASSES)))
        self.utterances = [
            Utterance(
                id=f"10{speaker:02d}_S{number:04d}",
                audio=Path(f"/corpus/10{speaker:02d}_S{number:04d}.wav"),
                speaker=f"10{speaker:02d}",
                corpus="made-up",
                text="It's eleven o'clock.",
                emotion=CLASSES[emotion],
            )
            for number, (speaker, emotion) in enumerate(zip(self.speaker, self.emotion, strict=True))
        ]

    def say(self, model: Model, cell: tuple[int, int], fold: int, rng: np.random.Generator) -> list[Prediction]:
        """What a model says of the speakers of a fold."""
        heard = np.flatnonzero(self.fold == fold)
        logits = model.skill * self.logits[heard] + rng.normal(0, 0.9, (len(heard), len(CLASSES)))
        shares = np.exp(model.sharpness * logits)
        shares /= shares.sum(axis=1, keepdims=True)
        found = []
        for place, share in zip(heard.tolist(), shares.tolist(), strict=True):
            each = self.utterances[place]
            said = CLASSES[int(np.argmax(share))]
            pairs = dict(zip(CLASSES, share, strict=True))
            found.append(Prediction(*cell, each.id, each.speaker, str(each.emotion), said, pairs))
        return found


def curve(model: Model, rng: np.random.Generator) -> list[Epoch]:
    """Training falls, validation falls and rises again; it ends some epochs after the best one."""
    epochs = max(2, model.epochs - int(rng.integers(0, 4))) if model.epochs else 0
    best = 0.6 * model.epochs
    return [
        Epoch(
            epoch,
            2e-3,
            0.25 + 1.1 * np.exp(-3 * epoch / model.epochs) + rng.normal(0, 0.01),
            0.7 + 0.7 * np.exp(-5 * epoch / model.epochs) + 0.2 * max(0, epoch - best) / best + rng.normal(0, 0.02),
        )
        for epoch in range(epochs)
    ]


def make_run(folder: Path) -> RunFolder:
    """Writes a run folder of made-up predictions."""
    rng = np.random.default_rng(1)
    crowd, run = Crowd(rng), RunFolder(folder)
    parts = [[crowd.utterances[place] for place in np.flatnonzero(crowd.fold == fold)] for fold in range(FOLDS)]
    folds = [Split(train=(), validation=(), test=tuple(part)) for part in parts]
    facts = {"classes": list(CLASSES), "manifest_sha256": "0" * 64, "counts": {"folds": FOLDS}, "unreadable": []}
    rows = [{"name": each.name, "model": each.model, "repeats": each.repeats} for each in models()]
    run.begin({"seed": 1, "corpus": "made-up", "rows": rows}, facts, {"affetto": "0.1.0"}, crowd.utterances, folds)
    for model in models():
        card = Row(name=model.name, model=model.model, training={}, parameters=112_516)
        for cell in ((repeat, fold) for repeat in range(model.repeats) for fold in range(FOLDS)):
            tested = crowd.say(model, cell, cell[1], rng)
            validated = crowd.say(model, cell, (cell[1] + 1) % FOLDS, rng)
            run.write_cell(card, tested, validated, curve(model, rng))
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="keeps the run and its report here, and uses the one that is there")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp())
    since = time.perf_counter()
    run = RunFolder(folder) if RunFolder(folder).begun else make_run(folder)
    print(f"made the run in {time.perf_counter() - since:.1f} s")
    found: dict[str, float] = {}
    profile = cProfile.Profile()
    for name, work in (
        ("table", lambda: build_table(run)),
        ("report", lambda: write_report(folder, folder / "report")),
    ):
        wall, processor = time.perf_counter(), time.process_time()
        if options.profile and name == "report":
            profile.runcall(work)
        else:
            work()
        found[f"{name}_s"] = round(time.perf_counter() - wall, 2)
        found[f"{name}_cpu_s"] = round(time.process_time() - processor, 2)
    page = folder / "report" / "index.html"
    print(json.dumps({**found, "page_kB": page.stat().st_size // 1000}))
    if options.profile:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(45)
    if options.folder is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
