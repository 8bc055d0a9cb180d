"""``affetto asr``: the speech recogniser by itself."""

from __future__ import annotations

import logging
import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from affetto.cli.arguments import Data, Device, Inputs, Model, Output, Paths, Recipe, Threads
from affetto.cli.decoding import (
    BeamBonus,
    BeamWeight,
    BeamWidth,
    Decoding,
    Files,
    Language,
    LanguageModelFile,
    LexiconFile,
    Numbers,
    WordModelFile,
    decoder_choice,
    tell_left_out,
)
from affetto.cli.terminal import ProgressBar, TableOrJson, extra, note, print_facts, print_json
from affetto.pretrained import DEFAULT

if TYPE_CHECKING:
    from affetto.transcribe import TranscriptionScores

app = typer.Typer(help="Train, score and use the speech recogniser by itself.", no_args_is_help=True)


class Format(StrEnum):
    """How transcripts are printed."""

    TEXT = "text"
    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


@app.command(no_args_is_help=True)
def train(  # noqa: PLR0913, PLR0917  # the shell's options
    recipe: Recipe,
    data: Data,
    output: Output = None,
    devices: Annotated[
        int | None,
        typer.Option(min=1, help="How many GPUs of each machine, or processes on a CPU.", show_default="all GPUs"),
    ] = None,
    nodes: Annotated[int, typer.Option(min=1, help="How many machines; start the command on each.")] = 1,
    strategy: Annotated[str, typer.Option(help="How they work together, by Lightning's name.")] = "auto",
    threads: Threads = None,
) -> None:
    r"""Train a recogniser, or go on where the same command was stopped.

    Needs [cyan]pip install "affetto\[train]"[/]. Each GPU or process reads batches of the recipe's size.

    [bold]Examples[/]
    [cyan]affetto asr train recipes/asr-tiny.toml --data ~/corpora[/]
    [cyan]affetto asr train recipes/asr-lakomkin2017.toml --data ~/corpora --devices 8[/]
    """
    with extra("train", "lightning", "tensorboard"):
        from affetto.training.recogniser.fit import fit_recogniser
        from affetto.training.recogniser.processes import Placement, first_process, stoppable
    from affetto.training.recogniser.recipe import RecogniserRecipe

    logging.basicConfig(level=logging.INFO, format="affetto: %(message)s")
    folder = output or Path("runs") / recipe.stem
    placement = Placement(devices=devices, nodes=nodes, strategy=strategy)
    with stoppable(_say_stopped):
        result = fit_recogniser(RecogniserRecipe.read(recipe), data, folder, placement=placement)
    if first_process():
        typer.echo(result)


def _say_stopped() -> None:
    if sys.stderr.isatty():
        typer.echo(err=True)  # below the bar
    note("stopped; the same command goes on from the last finished epoch")


@app.command("language-model", no_args_is_help=True)
def language_model(
    recipe: Recipe,
    data: Data,
    output: Output = None,
    order: Annotated[
        int | None, typer.Option(min=1, max=12, help="Characters of the longest n-gram.", show_default="8")
    ] = None,
    least_gain: Annotated[
        float | None,
        typer.Option(min=0.0, help="Leave out n-grams that gain less, in nats; 0 keeps all.", show_default="2"),
    ] = None,
    text: Annotated[
        list[Path] | None, typer.Option(help="A file to learn from as well, an utterance a line; may be given again.")
    ] = None,
) -> None:
    r"""Learn from a recipe's training transcripts how words are spelt, for decoding by beam search.

    Each different transcript counts once. The model, language.safetensors and .json, goes into the run's folder, and
    'model pack' takes it along. Needs [cyan]pip install "affetto\[train]"[/].

    [bold]Example[/]
    [cyan]affetto asr language-model recipes/asr-tiny.toml --data ~/corpora[/]
    """
    with extra("train", "lightning", "tensorboard"):
        from affetto.training.recogniser.speech import gather
    from affetto.training.recogniser.language_model import NGramConfig, fit_language_model
    from affetto.training.recogniser.recipe import RecogniserRecipe

    read = RecogniserRecipe.read(recipe)
    speech = gather(read, data)
    folder = output or Path("runs") / recipe.stem
    given = {"order": order, "least_gain": least_gain}
    config = NGramConfig.parse({name: value for name, value in given.items() if value is not None})
    fitted = fit_language_model(read, speech.training, speech.validation, folder, config, text or [])
    print_facts(
        {
            "language model": str(fitted.path),
            "trained on": f"{fitted.texts:,} different transcripts, {fitted.characters:,} characters",
            "n-grams": f"{fitted.ngrams:,} of up to {config.order} characters, {fitted.megabytes:.2f} MB",
            "perplexity": "unknown: no unheard transcript validates"
            if fitted.perplexity is None
            else f"{fitted.perplexity:.2f} a character of unheard transcripts",
        }
    )


@app.command(no_args_is_help=True)
def evaluate(  # noqa: PLR0913, PLR0917  # the shell's options
    corpus: Annotated[Path, typer.Argument(help="A transcribed corpus's folder, or a manifest.")],
    model: Model = DEFAULT,
    partition: Annotated[str | None, typer.Option(help="An official part of the corpus, as test.")] = None,
    held_out_by: Annotated[
        Path | None, typer.Option(metavar="RECIPE.toml", help="Only what validates in this recipe's training.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="So many utterances, spread evenly.")] = None,
    device: Device = "auto",
    threads: Threads = None,
    decoder: Decoding = None,
    language_model: LanguageModelFile = None,
    word_model: WordModelFile = None,
    lexicon: LexiconFile = None,
    beam_width: BeamWidth = None,
    beam_weight: BeamWeight = None,
    beam_bonus: BeamBonus = None,
    language: Language = None,
    format_: Annotated[TableOrJson, typer.Option("--format", help="How to print the scores.")] = TableOrJson.TABLE,
) -> None:
    r"""Measure character and word error rates on a corpus.

    A word model needs [cyan]pip install "affetto\[kenlm]"[/], [cyan]--held-out-by[/] needs
    [cyan]pip install "affetto\[train]"[/].

    [bold]Examples[/]
    [cyan]affetto asr evaluate data/LibriSpeech --partition test-clean --limit 200[/]
    [cyan]affetto asr evaluate data/common-voice --held-out-by recipes/asr-tiny.toml[/]
    [cyan]affetto asr evaluate data/LibriSpeech --word-model 3-gram.pruned.1e-7.arpa[/]
    """
    from affetto.transcribe import Transcriber, score_transcriber, transcribed_utterances

    files, numbers = Files(language_model, word_model, lexicon), Numbers(beam_width, beam_weight, beam_bonus)
    transcriber = Transcriber.from_pretrained(model, device, decoder_choice(decoder, files, numbers, language))
    tell_left_out(transcriber.decoder)
    among = None if held_out_by is None else _held_out(held_out_by, corpus)
    utterances = transcribed_utterances(corpus, partition=partition, among=among, limit=limit)
    with ProgressBar("transcribing") as bar:
        scores = score_transcriber(transcriber, utterances, bar)
    if format_ is TableOrJson.JSON:
        name = " ".join([corpus.resolve().name, *([partition] if partition else [])])
        values = {"version": 1, "corpus": name, "model": model, "decoder": transcriber.decoder.name, **asdict(scores)}
        if held_out_by is not None:
            values["held_out_by"] = held_out_by.stem
        print_json({**values, "real_time_factor": scores.real_time_factor})
    else:
        print_facts({"decoder": transcriber.decoder.name, **_facts(scores)})


@app.command(no_args_is_help=True)
def transcribe(  # noqa: PLR0913, PLR0917  # the shell's options
    paths: Paths,
    format_: Annotated[Format, typer.Option("--format", help="How to print the results.")] = Format.TEXT,
    model: Model = DEFAULT,
    device: Device = "auto",
    threads: Threads = None,
    decoder: Decoding = None,
    language_model: LanguageModelFile = None,
    word_model: WordModelFile = None,
    lexicon: LexiconFile = None,
    beam_width: BeamWidth = None,
    beam_weight: BeamWeight = None,
    beam_bonus: BeamBonus = None,
    language: Language = None,
) -> None:
    r"""Write down what is said: a line a recording, after its name if there are several.

    [bold]table[/], [bold]json[/], [bold]jsonl[/] and [bold]csv[/] also hold when each word was said and how sure it is.
    A word model needs [cyan]pip install "affetto\[kenlm]"[/]; only its words are written then.

    [bold]Examples[/]
    [cyan]affetto asr transcribe call.wav[/]
    [cyan]affetto asr transcribe call.wav --decoder kenlm --word-model words.arpa[/]
    [cyan]affetto asr transcribe call.wav --word-model words.bin --lexicon words.txt --beam-weight 0.5[/]
    [cyan]affetto asr transcribe interviews/ --format csv > words.csv[/]
    [cyan]affetto asr transcribe anruf.wav --model openai/whisper-base --language de[/]
    """
    from affetto.cli.transcripts import WRITERS
    from affetto.transcribe import Transcriber

    files, numbers = Files(language_model, word_model, lexicon), Numbers(beam_width, beam_weight, beam_bonus)
    transcriber = Transcriber.from_pretrained(model, device, decoder_choice(decoder, files, numbers, language))
    tell_left_out(transcriber.decoder)
    with ProgressBar("transcribing") as bar:
        inputs = Inputs(paths, bar)
        results = transcriber.transcribe_many(inputs.sources, inputs.progress)
        WRITERS[format_](inputs.successes(results), len(inputs.sources) > 1)
    inputs.end()


def _held_out(recipe: Path, corpus: Path) -> set[str]:
    with extra("train", "lightning", "tensorboard"):
        from affetto.training.recogniser.speech import held_out
    from affetto.training.recogniser.recipe import RecogniserRecipe

    return {utterance.id for utterance in held_out(RecogniserRecipe.read(recipe), corpus)}


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
