"""``affetto asr``: the speech recogniser by itself."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from affetto.cli.arguments import Data, Device, Inputs, Model, Output, Paths, Recipe
from affetto.cli.terminal import ProgressBar, TableOrJson, extra, print_facts, print_json

if TYPE_CHECKING:
    from affetto.transcribe import TranscriptionScores

app = typer.Typer(help="Train, score and use the speech recogniser by itself.", no_args_is_help=True)


@app.command(no_args_is_help=True)
def train(
    recipe: Recipe,
    data: Data,
    output: Output = None,
    devices: Annotated[
        int | None,
        typer.Option(min=1, help="How many GPUs of each machine, or processes on a CPU.", show_default="all GPUs"),
    ] = None,
    nodes: Annotated[int, typer.Option(min=1, help="How many machines; start the command on each.")] = 1,
    strategy: Annotated[str, typer.Option(help="How they work together, by Lightning's name.")] = "auto",
) -> None:
    r"""Train a recogniser, or go on where the same command was stopped.

    Needs [cyan]pip install "affetto\[train]"[/]. Each GPU or process reads batches of the recipe's size.

    [bold]Examples[/]
    [cyan]affetto asr train recipes/asr-small.toml --data ~/corpora[/]
    [cyan]affetto asr train recipes/asr-lakomkin2017.toml --data ~/corpora --devices 8[/]
    """
    with extra("train", "lightning", "tensorboard"):
        from affetto.training.placement import Placement, first_process
        from affetto.training.recogniser import fit_recogniser
    from affetto.training.recogniser_recipe import RecogniserRecipe

    logging.basicConfig(level=logging.INFO, format="affetto: %(message)s")
    folder = output or Path("runs") / recipe.stem
    placement = Placement(devices=devices, nodes=nodes, strategy=strategy)
    result = fit_recogniser(RecogniserRecipe.read(recipe), data, folder, placement=placement)
    if first_process():
        typer.echo(result)


@app.command(no_args_is_help=True)
def evaluate(
    corpus: Annotated[Path, typer.Argument(help="A transcribed corpus's folder, or a manifest.")],
    model: Model = "small",
    partition: Annotated[str | None, typer.Option(help="An official part of the corpus, as test.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="So many utterances, spread evenly.")] = None,
    device: Device = "auto",
    format_: Annotated[TableOrJson, typer.Option("--format", help="How to print the scores.")] = TableOrJson.TABLE,
) -> None:
    """Measure character and word error rates on a corpus.

    [bold]Example[/]
    [cyan]affetto asr evaluate data/LibriSpeech --partition test-clean --limit 200[/]
    """
    from affetto.transcribe import Transcriber, score_transcriber, transcribed_utterances

    transcriber = Transcriber.from_pretrained(model, device)
    utterances = transcribed_utterances(corpus, partition=partition, limit=limit)
    with ProgressBar("transcribing") as bar:
        scores = score_transcriber(transcriber, utterances, bar)
    if format_ is TableOrJson.JSON:
        name = " ".join([corpus.resolve().name, *([partition] if partition else [])])
        values = {"version": 1, "corpus": name, "model": model, **asdict(scores)}
        print_json({**values, "real_time_factor": scores.real_time_factor})
    else:
        print_facts(_facts(scores))


@app.command(no_args_is_help=True)
def transcribe(paths: Paths, model: Model = "small", device: Device = "auto") -> None:
    """Write down what is said: a line a recording, after its name if there are several.

    [bold]Example[/]
    [cyan]affetto asr transcribe call.wav[/]
    """
    from affetto.transcribe import Transcriber

    transcriber = Transcriber.from_pretrained(model, device)
    with ProgressBar("transcribing") as bar:
        inputs = Inputs(paths, bar)
        results = transcriber.transcribe_many(inputs.sources, inputs.progress)
        for result in inputs.successes(results):
            typer.echo(f"{result.source}\t{result.text}" if len(inputs.sources) > 1 else result.text)
    inputs.end()


def _facts(scores: TranscriptionScores) -> dict[str, str]:
    facts = {
        "CER": f"{scores.cer:.1%}",
        "WER": f"{scores.wer:.1%}",
        "utterances": f"{scores.utterances:,}",
        "length": f"{scores.hours:.2f} h",
        "real-time factor": f"{scores.real_time_factor:.4f} ({1 / scores.real_time_factor:,.0f} times real time)",
        "left out": ", ".join(f"{reason} {count:,}" for reason, count in scores.left_out.items()),
    }
    return {name: value for name, value in facts.items() if value}
