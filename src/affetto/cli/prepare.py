"""``affetto corpus prepare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from affetto.cli.arguments import Layout
from affetto.cli.terminal import ProgressBar, TableOrJson, counted, print_facts, print_json

if TYPE_CHECKING:
    from affetto.data.prepare import PreparedCorpus


def prepare(  # noqa: PLR0913, PLR0917
    path: Annotated[Path, typer.Argument(metavar="CORPUS", help="The corpus's folder, or a manifest.")],
    output: Annotated[Path, typer.Option(help="The folder to write into; it is made if need be.")],
    layout: Layout = None,
    max_duration: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="Longer utterances are left out.")
    ] = 15.0,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="How many files to make at a time.", show_default="all cores")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Name all that is left out.")] = False,
    format_: Annotated[TableOrJson, typer.Option("--format", help="How to print the summary.")] = TableOrJson.TABLE,
) -> None:
    """Make a corpus ready to train on: 16 kHz mono FLAC, texts in the alphabet, real durations, a manifest.

    Stopped anywhere, the same command goes on from there. What is left out, and why, stands in
    [cyan]left-out.csv[/] in the output folder. Recipes name that folder as any other corpus.

    [bold]Example[/]
    [cyan]affetto corpus prepare data/VoxForge --output prepared/voxforge[/]

    Exit code 1 means that all is done but for files that could not be read.
    """
    from affetto.data.prepare import prepare_corpus

    with ProgressBar("preparing", unit="files") as bar:
        try:
            prepared = prepare_corpus(path, output, name=layout, max_duration_s=max_duration, jobs=jobs, progress=bar)
        except KeyboardInterrupt:
            bar.hide()
            typer.echo("affetto: stopped; the same command goes on from here", err=True)
            raise
    if verbose:
        for each in prepared.left_out:
            typer.echo(f"left out: {each.what}: {each.reason}" + (f" ({each.detail})" if each.detail else ""), err=True)
    if format_ is TableOrJson.JSON:
        print_json(_values(prepared))
    else:
        print_facts(_facts(prepared))
    if prepared.faults:
        raise typer.Exit(1)


def _values(prepared: PreparedCorpus) -> dict[str, object]:
    return {
        "version": 1,
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


def _facts(prepared: PreparedCorpus) -> dict[str, str]:
    from affetto.data.prepare import LEFT_OUT, UNPACKED

    unpacked = prepared.manifest.with_name(UNPACKED)
    there = prepared.utterances - prepared.made
    facts = {
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
    return {name: value for name, value in facts.items() if value}
