"""``affetto corpus``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer import Argument, Option

from affetto.cli.arguments import TableOrJson
from affetto.cli.terminal import ProgressBar, console, counted, print_json, print_result

if TYPE_CHECKING:
    from affetto.data.check import CorpusSummary, DivisionReport
    from affetto.data.prepare import PreparedCorpus
    from affetto.data.splits import Split

app = typer.Typer(help="Look over collections of speech.", no_args_is_help=True)
Corpus = Annotated[Path, Argument(help="The corpus's folder, or a manifest.")]
Layout = Annotated[str | None, Option(help="The layout's name; without it, the folder decides.")]


@app.command(no_args_is_help=True)
def check(path: Corpus, layout: Layout = None, format_: TableOrJson = "table") -> None:
    """Count what is in a corpus, and say what is wrong with it.

    [bold]Example[/]
    [cyan]affetto corpus check data/crema-d[/]

    Exit code 1 means that sound is missing, ends before its utterances do, or cannot be read.
    """
    from affetto.data.check import check_corpus

    with ProgressBar("opening files", unit="files") as bar:
        summary = check_corpus(path, name=layout, progress=bar)
    examples = [{"what": each.what, "reason": each.reason} for each in summary.examples]
    print_result(format_, {**asdict(summary), "examples": examples}, _summary(summary))
    if summary.faulty:
        raise typer.Exit(1)


@app.command("check-split", no_args_is_help=True)
def check_split(
    path: Annotated[Path, Argument(help="The corpus's folder, a manifest, or an experiment's run folder.")],
    folds: Annotated[int, Option(min=3, help="How many folds to divide the speakers into.")] = 10,
    leave_out: Annotated[
        Literal["speaker", "session"] | None, Option(help="Test each alone instead.", show_default=False)
    ] = None,
    by: Annotated[
        Path | None, Option(help="Divide by this recipe (.toml), or look at this division (.csv: fold, part, speaker).")
    ] = None,
    layout: Layout = None,
    format_: TableOrJson = "table",
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
    from affetto.data.check import given_folds, is_run_folder, report

    given = is_run_folder(path) if by is None else by.suffix != ".toml"
    found = report(given_folds(path, by, layout=layout) if given else _divide(path, folds, leave_out, by, layout))
    if format_ == "json":
        missing = [each._asdict() for each in found.missing]
        print_json({"version": 1, "leaks": False, **asdict(found), "missing": missing})
    else:
        _print_parts(found)


def _divide(path: Path, folds: int, leave_out: str | None, recipe: Path | None, layout: str | None) -> list[Split]:
    from affetto.data.check import divide
    from affetto.data.protocols import GroupedKFold, LeaveOneSessionOut, LeaveOneSpeakerOut, Protocol

    if recipe is not None:
        from affetto.experiment.recipe import ExperimentRecipe

        read = ExperimentRecipe.read(recipe)
        if len(read.sources) > 1:
            from affetto.experiment.plan import load_data

            return load_data(read, path).splits
        return divide(path, read.protocol, layout=layout, labelling=read.labels, classes=read.classes, seed=read.seed)
    protocol: Protocol = GroupedKFold(folds=folds)
    if leave_out is not None:
        protocol = LeaveOneSpeakerOut() if leave_out == "speaker" else LeaveOneSessionOut()
    return divide(path, protocol, layout=layout)


def _print_parts(found: DivisionReport) -> None:
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
    for gap in found.missing:
        screen.print(f"fold {gap.fold}: no {', '.join(gap.emotions)} in its {gap.part} part")
    if found.never_tested or found.tested_repeatedly:
        screen.print(f"{found.never_tested:,} utterances are tested in no fold, {found.tested_repeatedly:,} in several")
    else:
        screen.print("every utterance is tested in exactly one fold")
    screen.print("no speaker in two parts of a fold")


def _summary(summary: CorpusSummary) -> dict[str, str]:
    unlabelled = {"without a label": summary.unlabelled} if summary.emotions and summary.unlabelled else {}
    return {
        "corpus": f"{summary.title} ({summary.name})",
        "licence": summary.licence,
        "utterances": f"{summary.utterances:,}, {summary.transcribed:,} of them transcribed",
        "length": f"{summary.hours:.2f} h",
        "utterance": f"{summary.duration_min_s:.2f} to {summary.duration_max_s:.2f} s, "
        f"median {summary.duration_median_s:.2f} s",
        "speakers": f"{summary.speakers:,}",
        "emotions": counted({**summary.emotions, **unlabelled}),
        "dimensions": counted(summary.dimensions),
        "partitions": counted(summary.partitions),
        "left out": counted(summary.skipped),
        "for example": "\n".join(f"{each.what} ({each.reason})" for each in summary.examples),
    }


@app.command(no_args_is_help=True)
def prepare(  # noqa: PLR0913, PLR0917
    path: Annotated[Path, Argument(metavar="CORPUS", help="The corpus's folder, or a manifest.")],
    output: Annotated[Path, Option(help="The folder to write into; it is made if need be.")],
    layout: Layout = None,
    max_duration: Annotated[float, Option(min=0.1, metavar="SECONDS", help="Longer utterances are left out.")] = 15.0,
    jobs: Annotated[
        int | None, Option(min=1, help="How many files to make at a time.", show_default="all cores")
    ] = None,
    verbose: Annotated[bool, Option("--verbose", "-v", help="Name all that is left out.")] = False,
    format_: TableOrJson = "table",
) -> None:
    """Make a corpus ready to train on: 16 kHz mono FLAC, texts in the alphabet, real durations, a manifest.

    Stopped anywhere, the same command goes on from there. What is left out, and why, stands in
    [cyan]left-out.csv[/] in the output folder. Recipes name that folder as any other corpus.

    [bold]Example[/]
    [cyan]affetto corpus prepare data/VoxForge --output prepared/voxforge[/]

    Exit code 1 means that all is done but for files that could not be read.
    """
    from affetto.data.prepare import prepare_corpus

    with ProgressBar("preparing", unit="files", resumes=True) as bar:
        prepared = prepare_corpus(path, output, name=layout, max_duration_s=max_duration, jobs=jobs, progress=bar)
    if verbose:
        for each in prepared.left_out:
            typer.echo(f"left out: {each.what}: {each.reason}" + (f" ({each.detail})" if each.detail else ""), err=True)
    print_result(format_, _prepared_values(prepared), _prepared_facts(prepared))
    if prepared.faults:
        raise typer.Exit(1)


def _prepared_values(prepared: PreparedCorpus) -> dict[str, object]:
    return {
        "corpus": prepared.corpus.name,
        "manifest": str(prepared.manifest),
        "utterances": prepared.utterances,
        "transcribed": prepared.transcribed,
        "hours": prepared.hours,
        "speakers": prepared.speakers,
        "partitions": dict(prepared.partitions),
        "made": prepared.made,
        "left_out": prepared.reasons,
        "unreadable": prepared.faults,
    }


def _prepared_facts(prepared: PreparedCorpus) -> dict[str, str]:
    from affetto.data.prepare import LEFT_OUT, UNPACKED

    unpacked = prepared.manifest.with_name(UNPACKED)
    there = prepared.utterances - prepared.made
    return {
        "corpus": f"{prepared.corpus.title} ({prepared.corpus.name})",
        "licence": prepared.corpus.licence,
        "utterances": f"{prepared.utterances:,}, {prepared.transcribed:,} of them transcribed",
        "length": f"{prepared.hours:.2f} h",
        "speakers": f"{prepared.speakers:,}",
        "partitions": counted(prepared.partitions),
        "files": f"{prepared.made:,} made" + (f", {there:,} were there" if there else ""),
        "left out": counted(prepared.reasons),
        "named in": str(prepared.manifest.with_name(LEFT_OUT)) if prepared.left_out else "",
        "unpacked": f"{unpacked} (no longer needed)" if unpacked.is_dir() else "",
        "manifest": str(prepared.manifest),
    }
