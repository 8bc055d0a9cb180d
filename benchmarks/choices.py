"""Short trainings of a recogniser that differ from one another in one choice each, side by side.

    python benchmarks/synthesised_speech.py --data DATA
    python benchmarks/choices.py --data DATA [--output runs/choices] [--jobs 2]     (about three hours on two cores)

Trains what benchmarks/choices.toml lists by `affetto asr train`, a process of one thread each; stopped anywhere, it
goes on. Then it prints a table in Markdown and draws the curves.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import tomli_w
from matplotlib.ticker import MaxNLocator

from affetto.config import merged
from affetto.drawing.figures import ACCENT, MUTED, SECOND, Canvas, Picture, render, write_files

BASE, CHANCE = "base", "chance"
MARKS = ("o", "s", "D", "^")
HUES = (SECOND, "#8a5a9e", "#3a8f6b", "#a6423a")


@dataclass(frozen=True, eq=False)
class Variant:
    """One training: its recipe, and the question that it answers."""

    study: str
    name: str
    asks: str
    recipe: dict[str, Any]

    @property
    def folder(self) -> Path:
        """Where it lies, below the output folder."""
        return Path(
            *("".join(letter if letter.isalnum() else "-" for letter in part) for part in (self.study, self.name))
        )


class Epoch(NamedTuple):
    """What the log says of an epoch; `training` is the mean loss of the batches that were logged."""

    cer: float
    wer: float
    validation: float
    training: float


class Curve(NamedTuple):
    """A training: its epochs, and the CER with the mean of the weights after the last few."""

    epochs: list[Epoch]
    averaged: float


def read(path: Path) -> list[Variant]:
    """The trainings of every study, its base first."""
    plan = tomllib.loads(path.read_text(encoding="utf-8"))
    variants = []
    for study in plan["study"]:
        base = merged(plan["shared"], study["base"])
        for each in ({"name": BASE, "asks": CHANCE}, *study["variant"]):
            recipe = merged(base, each.get("change", {}))
            if "more_speech" in each:
                recipe["corpora"] = [*recipe["corpora"], {"path": each["more_speech"]}]
            variants.append(Variant(study["name"], each["name"], each["asks"], recipe))
    return variants


def train(variant: Variant, data: Path, output: Path) -> None:
    """One training, unless it is finished already."""
    folder = output / variant.folder
    if not finished(folder):
        folder.mkdir(parents=True, exist_ok=True)
        recipe = folder / "recipe.toml"
        recipe.write_text(tomli_w.dumps(placed(variant.recipe)), encoding="utf-8")
        command = [sys.executable, "-m", "affetto", "asr", "train", recipe, "--data", data, "--output", folder]
        with (folder / "train.log").open("a", encoding="utf-8") as log:
            done = subprocess.run(
                command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=log, stderr=log, check=False
            )
        if done.returncode:
            raise SystemExit(f"{variant.name}: see {folder / 'train.log'}")
    shutil.rmtree(folder / "sound", ignore_errors=True)
    print(
        f"{variant.folder}: {' '.join(share(each.cer) for each in curve_of(folder).epochs)}",
        file=sys.stderr,
        flush=True,
    )


def finished(folder: Path) -> bool:
    """Whether a training has left its result."""
    return (folder / "recogniser.safetensors").exists()


def placed(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe whose corpora in runs/, made here, are not looked for below the data folder."""
    paths = [Path(each["path"]) for each in recipe["corpora"]]
    corpora = [
        {**each, "path": str(path.absolute() if path.parts[0] == "runs" else path)}
        for each, path in zip(recipe["corpora"], paths, strict=True)
    ]
    return {**recipe, "corpora": corpora}


def rows(folder: Path) -> Iterator[dict[str, str]]:
    """The log of a training, which has a file for each time that it was started."""
    for path in sorted(folder.glob("csv/version_*/metrics.csv"), key=lambda path: int(path.parent.name[8:])):
        with path.open(encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file)


def curve_of(folder: Path) -> Curve:
    """What the log of a finished training tells."""
    losses: dict[int, list[float]] = {}
    heard: dict[int, dict[str, str]] = {}
    for row in rows(folder):
        if row.get("loss"):
            losses.setdefault(int(row["epoch"]), []).append(float(row["loss"]))
        if row.get("cer"):
            heard[int(row["epoch"])] = row
    epochs = [
        Epoch(
            float(heard[epoch]["cer"]), float(heard[epoch]["wer"]), float(heard[epoch]["validation_loss"]), mean(values)
        )
        for epoch, values in sorted(losses.items())
    ]
    return Curve(epochs, float(heard[max(heard)]["cer"]))  # the mean is heard last, as an epoch without losses


def share(value: float) -> str:
    """A rate as the tables have it."""
    return f"{value:.3f}".replace("0.", ".", 1)


def table(curves: dict[Variant, Curve]) -> str:
    """CER after each epoch, and where the losses ended, in Markdown."""
    longest = max(len(curve.epochs) for curve in curves.values())
    numbers = [*(str(epoch + 1) for epoch in range(longest)), "mean", "WER", "loss", "validation loss"]
    lines = ["| " + " | ".join(["asks", "training", *numbers]) + " |", "|---|---|" + "---:|" * len(numbers)]
    for variant, curve in curves.items():
        last = curve.epochs[-1]
        cells = [share(each.cer) for each in curve.epochs]
        ends = [share(curve.averaged), share(last.wer), f"{last.training:.2f}", f"{last.validation:.2f}"]
        lines.append("| " + " | ".join([variant.asks, variant.name, *cells, *ends]) + " |")
    return "\n".join(lines)


def picture(study: str, curves: dict[Variant, Curve]) -> Picture:
    """CER against the epoch, a panel a question; each has the base and what only chance sets apart from it."""
    chance = [each for each in curves if each.asks == CHANCE]
    questions = list(dict.fromkeys(each.asks for each in curves if each.asks != CHANCE))

    def draw(canvas: Canvas) -> None:
        panels = canvas.panels(len(questions), 2, inches=2.6, sharey=True)
        for axes, question in zip(panels, questions, strict=True):
            asked = [each for each in curves if each.asks == question]
            looks = [(ACCENT if each.name == BASE else MUTED, None) for each in chance]
            for each, (colour, mark) in zip([*chance, *asked], [*looks, *zip(HUES, MARKS, strict=True)], strict=False):
                cers = [epoch.cer for epoch in curves[each].epochs]
                axes.plot(range(1, len(cers) + 1), cers, color=colour, marker=mark, ms=4, label=each.name)
            axes.set(title=question[0].upper() + question[1:], xlabel="epoch", ylabel="CER")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid()
            axes.legend()

    ends = "; ".join(f"{each.name} {share(curve.epochs[-1].cer)}" for each, curve in curves.items())
    caption = "Each line is one training; the grey one differs from the blue one by its seed alone."
    name = f"choices-{study.replace(' ', '-')}"
    return Picture(name, f"One choice at a time, {study}", draw, caption, f"CER after the last epoch: {ends}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("runs/choices"))
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time")
    parser.add_argument("--study", help="only the study of this name")
    parser.add_argument("--show", action="store_true", help="train nothing: show what is finished")
    parser.add_argument("--figures", type=Path, help="the folder for the figure [default: the output folder]")
    arguments = parser.parse_args()
    variants = read(Path(__file__).parent / "choices.toml")
    if arguments.study:
        variants = [each for each in variants if each.study == arguments.study]
    if arguments.show:
        variants = [each for each in variants if finished(arguments.output / each.folder)]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for done in [pool.submit(train, each, arguments.data, arguments.output) for each in variants]:
            done.result()
    for study in dict.fromkeys(each.study for each in variants):
        curves = {each: curve_of(arguments.output / each.folder) for each in variants if each.study == study}
        print(f"{study}:\n\n{table(curves)}\n")
        write_files(arguments.figures or arguments.output, render(picture(study, curves)).files())


if __name__ == "__main__":
    main()
