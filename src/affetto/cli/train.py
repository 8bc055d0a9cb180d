"""``affetto train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from affetto.cli.arguments import Data, Output, Recipe, Threads
from affetto.cli.terminal import ProgressBar, TableOrJson, print_facts, print_json

if TYPE_CHECKING:
    from affetto.experiment import EmotionRun
    from affetto.training.heads.tasks import Epoch


def train(
    recipe: Recipe,
    data: Data,
    output: Output = None,
    threads: Threads = None,
    format_: Annotated[TableOrJson, typer.Option("--format", help="How to print the scores.")] = TableOrJson.TABLE,
) -> None:
    """Train an emotion head on a recogniser, and score it on held-out speakers.

    The run's folder keeps the recipe, the predictions, the learning curve and the head.

    [bold]Example[/]
    [cyan]affetto train recipes/emotion-tiny.toml --data ~/corpora[/]
    """
    from affetto.experiment import train_emotion

    folder = output or Path("runs") / recipe.stem
    with ProgressBar("representing") as bar:

        def on_epoch(epoch: Epoch) -> None:
            bar.hide()
            losses = f"training loss {epoch.training_loss:.3f}, validation loss {epoch.validation_loss:.3f}"
            typer.echo(f"epoch {epoch.epoch}: {losses}", err=True)

        run = train_emotion(recipe, data, folder, progress=bar, on_epoch=on_epoch)
    if format_ is TableOrJson.JSON:
        counts = dict(zip(("train", "validation", "test"), run.counts, strict=True))
        print_json({"version": 1, "head": str(run.head), "utterances": counts, **run.scores._asdict()})
    else:
        print_facts(_facts(run))


def _facts(run: EmotionRun) -> dict[str, str]:
    train_count, validation_count, test_count = run.counts
    confusion = {
        f"{name} predicted as": ", ".join(
            f"{other} {count}" for other, count in zip(run.scores.classes, row, strict=True)
        )
        for name, row in zip(run.scores.classes, run.scores.confusion, strict=True)
    }
    return {
        "UAR": f"{run.scores.uar:.1%}",
        "accuracy": f"{run.scores.accuracy:.1%}",
        "macro F1": f"{run.scores.f1_macro:.1%}",
        "utterances": f"{train_count:,} to train on, {validation_count:,} to validate on, {test_count:,} to test on",
        **confusion,
        "head": str(run.head),
    }
