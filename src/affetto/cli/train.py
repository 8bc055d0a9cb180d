"""``affetto train`` and ``affetto model``: an emotion head, and trainings into a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer import Argument, Option

from affetto.cli.arguments import Data, Model, Output, Recipe, TableOrJson, Threads, run_folder
from affetto.cli.terminal import ProgressBar, print_result
from affetto.pretrained import DEFAULT

if TYPE_CHECKING:
    from affetto.experiment.single import EmotionRun
    from affetto.training.heads.tasks import Epoch

models = typer.Typer(help="Make a model folder out of trainings, or a graph out of a model.", no_args_is_help=True)


def train(
    recipe: Recipe, data: Data, output: Output = None, threads: Threads = None, format_: TableOrJson = "table"
) -> None:
    r"""Train an emotion head on a recogniser, and score it on held-out speakers.

    It predicts the recipe's classes, or its dimensions, such as valence. The run's folder keeps the recipe, the
    predictions, the learning curve and the head.
    Needs [cyan]pip install "affetto\[train]"[/].

    [bold]Example[/]
    [cyan]affetto train recipes/emotion-tiny.toml --data ~/corpora[/]
    """
    from affetto.experiment import train_emotion

    with ProgressBar("representing") as bar:

        def on_epoch(epoch: Epoch) -> None:
            bar.hide()
            losses = f"training loss {epoch.training_loss:.3f}, validation loss {epoch.validation_loss:.3f}"
            typer.echo(f"epoch {epoch.epoch}: {losses}", err=True)

        run = train_emotion(recipe, data, run_folder(output, recipe), progress=bar, on_epoch=on_epoch)
    counts = dict(zip(("train", "validation", "test"), run.counts, strict=True))
    print_result(format_, {"head": str(run.head), "utterances": counts, **run.scores._asdict()}, _facts(run))


def _facts(run: EmotionRun) -> dict[str, str]:
    from affetto.evaluate import ValueScores

    used = "{:,} to train on, {:,} to validate on, {:,} to test on".format(*run.counts)
    if isinstance(run.scores, ValueScores):
        scores = {f"CCC {name}": f"{value:.3f}" for name, value in run.scores.ccc.items()}
        return {**scores, "utterances": used, "head": str(run.head)}
    classes = run.scores.classes
    confusion = {
        f"{name} predicted as": ", ".join(f"{other} {count}" for other, count in zip(classes, row, strict=True))
        for name, row in zip(classes, run.scores.confusion, strict=True)
    }
    return {
        "UAR": f"{run.scores.uar:.1%}",
        "accuracy": f"{run.scores.accuracy:.1%}",
        "macro F1": f"{run.scores.f1_macro:.1%}",
        "utterances": used,
        **confusion,
        "head": str(run.head),
    }


@models.command(no_args_is_help=True)
def pack(
    runs: Annotated[list[Path], Argument(help="Folders of a recogniser's or an emotion head's training.")],
    into: Annotated[Path, Option(help="The model folder; it is made if need be.")],
    precision: Annotated[Literal["float16", "int8"], Option(help="How matrices are stored.")] = "float16",
) -> None:
    """Put trained weights into a model folder and write its card.

    Pack the recogniser first: a head is trained on the packed one. A folder may hold a head that predicts emotions and
    one that predicts dimensions, and can be put on the Hugging Face hub as it is.

    [bold]Example[/]
    [cyan]affetto model pack runs/asr-small --into models/mine[/]
    """
    from affetto.packing import pack_run, write_card

    for run in runs:
        pack_run(run, into, precision)
    typer.echo(write_card(into, []))


@models.command(no_args_is_help=True)
def card(
    folder: Annotated[Path, Argument(help="A model folder.")],
    evaluations: Annotated[
        list[Path] | None,
        Option(
            "--evaluation",
            help="What 'asr evaluate' or 'evaluate' prints with --format json; may be given several times.",
        ),
    ] = None,
) -> None:
    """Write a model folder's card anew, with error rates that were measured.

    [bold]Example[/]
    [cyan]affetto model card models/mine --evaluation librispeech.json[/]
    """
    from affetto.packing import read_evaluation, write_card

    typer.echo(write_card(folder, [read_evaluation(path) for path in evaluations or []]))


@models.command(no_args_is_help=True)
def export(
    output: Annotated[Path, Option(help="The folder to write to; it is made if need be.")],
    model: Model = DEFAULT,
    format_: Annotated[Literal["onnx"], Option("--format", help="What to write.")] = "onnx",
    precision: Annotated[
        Literal["float32", "int8"], Option(help="How exactly the graph computes; int8 is smaller and faster.")
    ] = "float32",
) -> None:
    r"""Write a model as ONNX, for programs that have no torch.

    The folder gets a graph from sound to characters and emotion, and a JSON that says all that a caller has to know.
    Needs [cyan]pip install "affetto\[onnx]"[/].

    [bold]Example[/]
    [cyan]affetto model export --output tiny-onnx[/]
    """
    from affetto.onnx.export import export_model

    written = export_model(model, output, precision)
    typer.echo(f"{written.model} in {written.precision}, as {format_}: {output}")
