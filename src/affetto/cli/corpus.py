"""``affetto corpus``."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from affetto.cli import prepare
from affetto.cli.arguments import Layout
from affetto.cli.terminal import ProgressBar, TableOrJson, console, counted, print_facts, print_json

if TYPE_CHECKING:
    from affetto.data.check import CorpusSummary
    from affetto.data.leakage import DivisionReport
    from affetto.data.splits import Split

app = typer.Typer(help="Look over collections of speech.", no_args_is_help=True)
Corpus = Annotated[Path, typer.Argument(help="The corpus's folder, or a manifest.")]
app.command("prepare", no_args_is_help=True)(prepare.prepare)


class LeaveOut(StrEnum):
    """How many are tested at a time."""

    SPEAKER = "speaker"
    SESSION = "session"


@app.command(no_args_is_help=True)
def check(
    path: Corpus,
    layout: Layout = None,
    format_: Annotated[TableOrJson, typer.Option("--format", help="How to print the summary.")] = TableOrJson.TABLE,
) -> None:
    """Count what is in a corpus, and say what is wrong with it.

    [bold]Example[/]
    [cyan]affetto corpus check data/crema-d[/]

    Exit code 1 means that sound is missing or cannot be read.
    """
    from affetto.data.check import check_corpus

    with ProgressBar("opening files", unit="files") as bar:
        summary = check_corpus(path, name=layout, progress=bar)
    if format_ is TableOrJson.JSON:
        values = asdict(summary)
        values["examples"] = [asdict(example) for example in summary.examples]
        print_json({"version": 1, **values})
    else:
        print_facts(_facts(summary))
    if summary.faulty:
        raise typer.Exit(1)


@app.command("check-split", no_args_is_help=True)
def check_split(
    path: Annotated[Path, typer.Argument(help="The corpus's folder, a manifest, or an experiment's run folder.")],
    folds: Annotated[int, typer.Option(min=3, help="How many folds to divide the speakers into.")] = 10,
    leave_out: Annotated[LeaveOut | None, typer.Option(help="Test each alone instead.", show_default=False)] = None,
    by: Annotated[
        Path | None,
        typer.Option(help="Divide by this recipe (.toml), or look at this division (.csv: fold, part, speaker)."),
    ] = None,
    layout: Layout = None,
    format_: Annotated[TableOrJson, typer.Option("--format", help="How to print the parts.")] = TableOrJson.TABLE,
) -> None:
    """Show who trains, validates and tests in each fold, and make sure that no speaker is in two parts.

    Of a run folder, the division that the run was made with is looked at. Where a recipe names several corpora, give
    the folder that they lie in.

    [bold]Examples[/]
    [cyan]affetto corpus check-split data/crema-d --folds 10[/]
    [cyan]affetto corpus check-split data/iemocap --leave-out speaker[/]
    [cyan]affetto corpus check-split data/iemocap --by recipes/lakomkin2017.toml[/]
    [cyan]affetto corpus check-split runs/lakomkin2017[/]

    Exit code 2 means that a speaker is in two parts, or that the corpus cannot be divided like this.
    """
    from affetto.data.leakage import given_folds, is_run_folder, report

    if by is None and is_run_folder(path):
        found = report(given_folds(path))
    elif by is not None and by.suffix != ".toml":
        found = report(given_folds(path, by, layout=layout))
    else:
        found = report(_divide(path, folds, leave_out, by, layout))
    if format_ is TableOrJson.JSON:
        missing = [each._asdict() for each in found.missing]
        print_json({"version": 1, "leaks": False, **asdict(found), "missing": missing})
    else:
        _print_parts(found)


def _divide(path: Path, folds: int, leave_out: LeaveOut | None, recipe: Path | None, layout: str | None) -> list[Split]:
    from affetto.data.leakage import divide
    from affetto.data.protocols import GroupedKFold, LeaveOneSessionOut, LeaveOneSpeakerOut

    if recipe is not None:
        from affetto.experiment.recipe import ExperimentRecipe

        read = ExperimentRecipe.read(recipe)
        if len(read.sources) > 1:
            from affetto.experiment.dataset import load_data

            return load_data(read, path).splits
        return divide(path, read.protocol, layout=layout, labelling=read.labels, classes=read.classes, seed=read.seed)
    match leave_out:
        case LeaveOut.SPEAKER:
            return divide(path, LeaveOneSpeakerOut(), layout=layout)
        case LeaveOut.SESSION:
            return divide(path, LeaveOneSessionOut(), layout=layout)
        case None:
            return divide(path, GroupedKFold(folds=folds), layout=layout)


def _print_parts(found: DivisionReport) -> None:
    """A line a part, and below them what else there is to know."""
    from rich.table import Table

    emotions = list(found.parts[0].emotions)
    corpora = [sorted({name.split("/")[0] for name in each.speakers}) for each in found.parts]
    several = len({name for names in corpora for name in names}) > 1
    grid = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for heading in ("fold", "part", *(["corpora"] if several else []), "speakers", "utterances", *emotions):
        grid.add_column(heading, justify="left" if heading in {"part", "corpora"} else "right", overflow="fold")
    for each, names in zip(found.parts, corpora, strict=True):
        counts = [len(each.speakers), each.utterances, *each.emotions.values()]
        cells = [each.part, *([", ".join(names)] if several else []), *map(str, counts)]
        grid.add_row(str(each.fold) if each.part == "train" else "", *cells)
    screen = console()
    screen.print(grid)
    for line in _verdict(found):
        screen.print(line)


def _verdict(found: DivisionReport) -> list[str]:
    """What can be said of all folds together."""
    lines = [f"fold {each.fold}: no {', '.join(each.emotions)} in its {each.part} part" for each in found.missing]
    untested, repeated = found.never_tested, found.tested_repeatedly
    if untested or repeated:
        lines.append(f"{untested:,} utterances are tested in no fold, {repeated:,} in several")
    else:
        lines.append("every utterance is tested in exactly one fold")
    return [*lines, "no speaker in two parts of a fold"]


def _facts(summary: CorpusSummary) -> dict[str, str]:
    """What people want to know, left out where there is nothing to say."""
    emotions = dict(summary.emotions)
    if emotions and summary.unlabelled:
        emotions |= {"without a label": summary.unlabelled}
    tables = {"emotions": emotions, "partitions": summary.partitions, "left out": summary.skipped}
    examples = [f"{example.what} ({example.reason})" for example in summary.examples]
    facts = {
        "corpus": f"{summary.title} ({summary.name})",
        "licence": summary.licence,
        "utterances": f"{summary.utterances:,}, {summary.transcribed:,} of them transcribed",
        "length": f"{summary.hours:.2f} h",
        "utterance": f"{summary.duration_min_s:.2f} to {summary.duration_max_s:.2f} s, "
        f"median {summary.duration_median_s:.2f} s",
        "speakers": f"{summary.speakers:,}",
        **{name: counted(counts) for name, counts in tables.items()},
        "for example": "\n".join(examples),
    }
    return {name: value for name, value in facts.items() if value}
