"""``affetto asr``: the speech recogniser by itself."""

from __future__ import annotations

import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer import Argument, Option

from affetto.cli.arguments import (
    Data,
    Device,
    Inputs,
    Language,
    Model,
    Output,
    Paths,
    Precision,
    Recipe,
    TableOrJson,
    Threads,
    names_in,
    run_folder,
)
from affetto.cli.terminal import ProgressBar, counted, note, print_facts, print_result
from affetto.pretrained import DEFAULT

if TYPE_CHECKING:
    from affetto.transcribe import Transcriber, TranscriptionScores

app = typer.Typer(help="Train, score and use the speech recogniser by itself.", no_args_is_help=True)

Method = Literal["greedy", "beam", "kenlm"]
Decoding = Annotated[
    Method | None,
    Option(
        "--decoder",
        help="How to decode: kenlm searches for words.",
        show_default="kenlm with a word model, beam with a language model, or greedy",
    ),
]
LanguageModelFile = Annotated[
    Path | None, Option("--language-model", help="A language.safetensors.", show_default="the model's, if it has one")
]
WordModelFile = Annotated[
    Path | None,
    Option(
        "--word-model",
        help="A language model of words: an ARPA file, or one of KenLM's binary files, which is mapped into memory as "
        "it is and has to come from someone you trust.",
    ),
]
LexiconFile = Annotated[
    Path | None,
    Option(
        "--lexicon",
        help="The words that may be written, a word a line, as the word model writes them; needed for a binary file.",
        show_default="the ARPA file's words",
    ),
]
BeamWidth = Annotated[
    int | None, Option("--beam-width", min=1, help="Spellings kept a frame.", show_default="32, or 100 of words")
]
BeamWeight = Annotated[
    float | None,
    Option("--beam-weight", min=0.0, help="How much the language model counts.", show_default="0.7, or 1 of words"),
]
BeamBonus = Annotated[
    float | None,
    Option(
        "--beam-bonus",
        help="For each character, or with a word model for each word, against short texts.",
        show_default="1.4, or 2 a word",
    ),
]


@app.command(no_args_is_help=True)
def train(  # noqa: PLR0913, PLR0917  # the shell's options
    recipe: Recipe,
    data: Data,
    output: Output = None,
    devices: Annotated[
        int | None, Option(min=1, help="How many GPUs of each machine, or processes on a CPU.", show_default="all GPUs")
    ] = None,
    nodes: Annotated[int, Option(min=1, help="How many machines; start the command on each.")] = 1,
    strategy: Annotated[str, Option(help="How they work together, by Lightning's name.")] = "auto",
    threads: Threads = None,
) -> None:
    r"""Train a recogniser, or go on where the same command was stopped.

    Needs [cyan]pip install "affetto\[train]"[/]. Each GPU or process reads batches of the recipe's size.

    [bold]Examples[/]
    [cyan]affetto asr train recipes/asr-tiny.toml --data ~/corpora[/]
    [cyan]affetto asr train recipes/asr-lakomkin2017.toml --data ~/corpora --devices 8[/]
    """
    from affetto.training.recogniser.fit import fit_recogniser
    from affetto.training.recogniser.processes import Placement, first_process, stoppable
    from affetto.training.recogniser.recipe import RecogniserRecipe

    logging.basicConfig(level=logging.INFO, format="affetto: %(message)s")
    placement = Placement(devices=devices, nodes=nodes, strategy=strategy)
    with stoppable(_say_stopped):
        result = fit_recogniser(RecogniserRecipe.read(recipe), data, run_folder(output, recipe), placement=placement)
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
        int | None, Option(min=1, max=12, help="Characters of the longest n-gram.", show_default="8")
    ] = None,
    least_gain: Annotated[
        float | None, Option(min=0.0, help="Leave out n-grams that gain less, in nats; 0 keeps all.", show_default="2")
    ] = None,
    text: Annotated[
        list[Path] | None, Option(help="A file to learn from as well, an utterance a line; may be given again.")
    ] = None,
) -> None:
    r"""Learn from a recipe's training transcripts how words are spelt, for decoding by beam search.

    Each different transcript counts once. The model, language.safetensors and .json, goes into the run's folder, and
    'model pack' takes it along. Needs [cyan]pip install "affetto\[train]"[/].

    [bold]Example[/]
    [cyan]affetto asr language-model recipes/asr-tiny.toml --data ~/corpora[/]
    """
    from affetto.training.recogniser.language_model import NGramConfig, fit_language_model
    from affetto.training.recogniser.recipe import RecogniserRecipe
    from affetto.training.recogniser.speech import gather

    read = RecogniserRecipe.read(recipe)
    speech = gather(read, data)
    given = {"order": order, "least_gain": least_gain}
    config = NGramConfig.parse({name: value for name, value in given.items() if value is not None})
    folder = run_folder(output, recipe)
    fitted = fit_language_model(read, speech.training, speech.validation, folder, config, text or [])
    print_facts(
        {
            "language model": str(fitted.path),
            "trained on": f"{fitted.texts:,} different transcripts, {fitted.characters:,} characters",
            "n-grams": f"{fitted.ngrams:,} of up to {config.order} characters, {fitted.megabytes:.2f} MB",
            "perplexity": "unknown: no new transcript validates"
            if fitted.perplexity is None
            else f"{fitted.perplexity:.2f} a character of new transcripts",
        }
    )


@app.command(no_args_is_help=True)
def evaluate(  # noqa: PLR0913, PLR0917  # the shell's options
    corpus: Annotated[Path, Argument(help="A transcribed corpus's folder, or a manifest.")],
    model: Model = DEFAULT,
    partition: Annotated[str | None, Option(help="An official part of the corpus, as test.")] = None,
    held_out_by: Annotated[
        Path | None, Option(metavar="RECIPE.toml", help="Only what validates in this recipe's training.")
    ] = None,
    limit: Annotated[int | None, Option(min=1, help="So many utterances, spread evenly.")] = None,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
    decoder: Decoding = None,
    language_model: LanguageModelFile = None,
    word_model: WordModelFile = None,
    lexicon: LexiconFile = None,
    beam_width: BeamWidth = None,
    beam_weight: BeamWeight = None,
    beam_bonus: BeamBonus = None,
    language: Language = None,
    format_: TableOrJson = "table",
) -> None:
    r"""Measure character and word error rates on a corpus.

    Needs [cyan]pip install "affetto\[train]"[/], a word model also [cyan]"affetto\[kenlm]"[/].

    [bold]Examples[/]
    [cyan]affetto asr evaluate data/LibriSpeech --partition test-clean --limit 200[/]
    [cyan]affetto asr evaluate data/common-voice --held-out-by recipes/asr-tiny.toml[/]
    [cyan]affetto asr evaluate data/LibriSpeech --word-model 3-gram.pruned.1e-7.arpa[/]
    """
    import affetto.metrics  # noqa: F401  # should it want a library, before any work is done
    from affetto.transcribe import score_transcriber, transcribed_utterances

    files, beam = (language_model, word_model, lexicon), (beam_width, beam_weight, beam_bonus)
    transcriber = _transcriber((model, device, precision), decoder, files, beam, language)
    among = None if held_out_by is None else _held_out(held_out_by, corpus)
    utterances = transcribed_utterances(corpus, partition=partition, among=among, limit=limit)
    with ProgressBar("transcribing") as bar:
        scores = score_transcriber(transcriber, utterances, bar)
    by = {"decoder": transcriber.decoder.name}
    values = {"corpus": " ".join(filter(None, (corpus.resolve().name, partition))), "model": model, **by}
    values |= asdict(scores) | ({} if held_out_by is None else {"held_out_by": held_out_by.stem})
    print_result(format_, {**values, "real_time_factor": scores.real_time_factor}, by | _facts(scores))


@app.command(no_args_is_help=True)
def transcribe(  # noqa: PLR0913, PLR0917  # the shell's options
    paths: Paths,
    format_: Annotated[
        Literal["text", "table", "json", "jsonl", "csv"], Option("--format", help="How to print the results.")
    ] = "text",
    model: Model = DEFAULT,
    device: Device = "auto",
    precision: Precision = "auto",
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
    from affetto.cli.recordings import print_transcripts

    files, beam = (language_model, word_model, lexicon), (beam_width, beam_weight, beam_bonus)
    transcriber = _transcriber((model, device, precision), decoder, files, beam, language)
    with ProgressBar("transcribing") as bar:
        inputs = Inputs(paths, bar)
        results = transcriber.transcribe_many(inputs.sources, inputs.progress)
        print_transcripts(format_, inputs.successes(results), several=len(inputs.sources) > 1)
    inputs.end()


@app.command("pseudo-label", no_args_is_help=True)
def pseudo_label(  # noqa: PLR0913, PLR0917  # the shell's options
    paths: Paths,
    output: Annotated[Path, Option(help="The folder to write into; it is made if need be.")],
    models: Annotated[
        str, Option(metavar="MODEL,...", help="Two recognisers or more, the best of them first.")
    ] = "openai/whisper-base,openai/whisper-tiny.en",
    most_apart: Annotated[
        float, Option(min=0.0, metavar="CER", help="Transcripts agree up to this character error rate.")
    ] = 0.1,
    device: Device = "auto",
    threads: Threads = None,
    format_: TableOrJson = "table",
) -> None:
    r"""Transcribe clips that have no transcripts, and keep those on which recognisers agree, to train on.

    The output folder is a corpus: a manifest, and in [cyan]left-out.csv[/] what was left out and why. Stopped anywhere,
    the same command goes on from there. Needs [cyan]pip install "affetto\[train,public]"[/].

    [bold]Example[/]
    [cyan]affetto asr pseudo-label clips/ --output data/speech/clips-labelled[/]

    Exit code 1 means that all is done but for files that could not be read.
    """
    import affetto.metrics  # noqa: F401  # should it want a library, before any work is done
    from affetto.errors import ConfigError
    from affetto.pseudo_labels import pseudo_label as label

    with ProgressBar("transcribing", unit="clips", resumes=True) as bar:
        inputs = Inputs(paths, bar)
        clips = [each for each in inputs.sources if isinstance(each, Path)]
        if len(clips) < len(inputs.sources):
            raise ConfigError("standard input is no clip", "name files or folders", "-")
        made = label(clips, names_in(models), output, most_apart=most_apart, device=device, progress=bar)
    facts = {
        "utterances": f"{made.utterances:,}",
        "length": f"{made.hours:.2f} h",
        "left out": counted(made.reasons),
        "named in": str(made.manifest.with_name("left-out.csv")) if made.reasons else "",
        "manifest": str(made.manifest),
    }
    print_result(format_, {**asdict(made), "manifest": str(made.manifest)}, facts)
    inputs.end()
    if made.unreadable:
        raise typer.Exit(1)


def _transcriber(
    how: tuple[str, str, Precision],
    method: Method | None,
    files: tuple[Path | None, Path | None, Path | None],
    beam: tuple[int | None, float | None, float | None],
    language: str | None,
) -> Transcriber:
    """Loads what the options ask for, and says how many words of a lexicon cannot be written, if there are any."""
    from affetto.models.decoding import BeamConfig, Decoder, DecoderChoice, WordBeamConfig
    from affetto.transcribe import Transcriber

    (model, device, precision), (language_model, word_model, lexicon_file) = how, files
    given = {name: each for name, each in zip(("width", "weight", "bonus"), beam, strict=True) if each is not None}
    letters, words = BeamConfig.parse(given), WordBeamConfig.parse(given)
    choice = DecoderChoice(method, language_model, letters, word_model, lexicon_file, words, language)
    transcriber = Transcriber.from_pretrained(model, device, choice, precision=precision)
    search = transcriber.decoder.words if isinstance(transcriber.decoder, Decoder) else None
    lexicon = None if search is None else search.model.lexicon
    if lexicon is not None and lexicon.left_out:
        total = lexicon.left_out + len(lexicon.words)
        note(f"words left out, which the recogniser cannot spell: {lexicon.left_out:,} of {total:,}")
    return transcriber


def _held_out(recipe: Path, corpus: Path) -> set[str]:
    from affetto.training.recogniser.recipe import RecogniserRecipe
    from affetto.training.recogniser.speech import held_out

    return {utterance.id for utterance in held_out(RecogniserRecipe.read(recipe), corpus)}


def _facts(scores: TranscriptionScores) -> dict[str, str]:
    return {
        "CER": f"{scores.cer:.1%}",
        "WER": f"{scores.wer:.1%}",
        "utterances": f"{scores.utterances:,}",
        "length": f"{scores.hours:.2f} h",
        "real-time factor": f"{scores.real_time_factor:.4f} ({1 / scores.real_time_factor:,.0f} times real time)",
        "left out": counted(scores.left_out),
    }
