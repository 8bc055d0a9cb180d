"""``affetto evaluate``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer import Argument, Option

from affetto.cli.arguments import Device, Model, Precision, Sure, Threads, names_in
from affetto.cli.terminal import ProgressBar, print_json, print_sheets
from affetto.pretrained import DEFAULT

if TYPE_CHECKING:
    from affetto.evaluate.cross_corpus import CorpusPart, CorpusScores

Corpora = Annotated[list[Path], Argument(metavar="CORPUS", help="Folders of corpora, or manifests.")]
Conditions = Annotated[str, Option(metavar="NAME,...", help="Listening conditions, as clean,telephone,pink-10.")]
SpeakerIds = Annotated[str | None, Option(metavar="ID,...", help="Only these speakers.", show_default="all")]
HeldOutBy = Annotated[
    Path | None, Option(metavar="RECIPE.toml", help="Of this recipe's corpus, only its test speakers.")
]
Limit = Annotated[int | None, Option(min=1, help="So many clips of each corpus, drawn at random.")]
Format = Annotated[Literal["table", "json", "markdown"], Option("--format", help="How to print the scores.")]
Folder = Annotated[
    Path | None,
    Option(help="Also write scores.json, scores.md and predictions.csv into this folder.", show_default=False),
]


def evaluate(  # noqa: PLR0913, PLR0917  # the shell's options
    corpora: Corpora,
    model: Model = DEFAULT,
    condition: Conditions = "clean",
    speakers: SpeakerIds = None,
    held_out_by: HeldOutBy = None,
    limit: Limit = None,
    sure: Sure = 0.5,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
    format_: Format = "table",
    output: Folder = None,
) -> None:
    r"""Measure how well emotion is recognised, on any labelled corpora and under any listening conditions.

    Clips are recognised as 'recognise' does it: speech is found, and the whole is judged. Labels that the model does
    not know are left out and counted. Of a corpus without labels, only what is stated is counted. Dimensions that the
    model predicts and a corpus has (as valence) are scored by CCC.
    Needs [cyan]pip install "affetto\[train]"[/].

    Conditions: clean, telephone, white-DB, pink-DB, noise-DB and babble-DB (speech over noise), reverb-SECONDS,
    opus-KBIT and mp3-KBIT, gain-DB, clip-DB, dc-OFFSET, silence-SECONDS and room-SECONDS (either side), eq; joined
    by +, one after the other.

    [bold]Examples[/]
    [cyan]affetto evaluate data/ravdess data/savee[/]
    [cyan]affetto evaluate data/crema-d --held-out-by recipes/emotion-tiny.toml --condition clean,telephone,pink-10[/]
    [cyan]affetto evaluate data/ravdess --condition reverb-0.5+opus-8 --format json --output results/ravdess[/]
    """
    from affetto.environment import environment
    from affetto.evaluate.cross_corpus import score_corpora
    from affetto.features.conditions import Condition
    from affetto.recognise import EmotionRecogniser
    from affetto.report.cross_corpus import write_scores
    from affetto.timeline import Judgement

    conditions = [Condition.parse(each) for each in condition.split(",")]
    judgement = Judgement(sure=sure)
    recogniser = EmotionRecogniser.from_pretrained(model, device, spells=False, precision=precision)
    parts = _parts(corpora, recogniser.emotions, speakers, held_out_by, limit)
    with ProgressBar("recognising", unit="clips") as bar:
        scores = list(score_corpora(recogniser, parts, conditions, judgement=judgement, progress=bar))
    about = {
        "model": model,
        "fingerprint": recogniser.fingerprint(),
        "classes": list(recogniser.emotions),
        "judgement": judgement.model_dump(),
        "held_out_by": None if held_out_by is None else held_out_by.stem,
        "environment": environment(),
    }
    if output is not None:
        write_scores(output, about, scores)
    _print(about, scores, format_)


def _print(about: dict[str, Any], scores: list[CorpusScores], format_: str) -> None:
    from affetto.report import cross_corpus as tables

    if format_ == "json":
        print_json(tables.scores_to_values(about, scores))
    elif format_ == "markdown":
        typer.echo(tables.scores_to_markdown(scores), nl=False)
    else:
        print_sheets(tables.score_sheets(scores, details=False), tables.score_notes(scores))


def _parts(
    corpora: list[Path], classes: tuple[str, ...], speakers: str | None, recipe: Path | None, limit: int | None
) -> list[CorpusPart]:
    from affetto.errors import ConfigError, CorpusError
    from affetto.evaluate.cross_corpus import corpus_part
    from affetto.experiment.single import EmotionRecipe

    wanted = [() if speakers is None else names_in(speakers)] * len(corpora)
    if recipe is not None:
        held_out = EmotionRecipe.read(recipe)
        if len(held_out.sources) > 1:
            raise ConfigError("trains on several corpora", "name the test speakers of one with --speakers", recipe)
        named_there = held_out.sources[0].path
        own = [path.resolve().name == named_there.name for path in corpora]
        if not any(own):
            raise CorpusError(f"none of the corpora is that of {recipe}", f"name {named_there} among them")
        wanted = [held_out.test_speakers if is_own else named for named, is_own in zip(wanted, own, strict=True)]
    parts = [corpus_part(path, classes, speakers=who, limit=limit) for path, who in zip(corpora, wanted, strict=True)]
    alike = len({part.name for part in parts}) < len(parts)
    return [replace(part, name=str(path)) if alike else part for part, path in zip(parts, corpora, strict=True)]
