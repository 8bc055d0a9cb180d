"""``affetto corpus``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from affetto.cli.terminal import ProgressBar, TableOrJson, print_facts, print_json

if TYPE_CHECKING:
    from affetto.data.check import CorpusSummary

app = typer.Typer(help="Look over collections of speech.", no_args_is_help=True)


@app.callback()
def _corpus() -> None:
    """Keeps ``check`` a verb of its own while it is the only one."""


@app.command(no_args_is_help=True)
def check(
    path: Annotated[Path, typer.Argument(help="The corpus's folder, or a manifest.")],
    layout: Annotated[str | None, typer.Option(help="The layout's name; without it, the folder tells.")] = None,
    format_: Annotated[TableOrJson, typer.Option("--format", help="How to print the summary.")] = TableOrJson.TABLE,
) -> None:
    """Count what is in a corpus, and say what is wrong with it.

    [bold]Example[/]
    [cyan]affetto corpus check data/crema-d[/]
    """
    from affetto.data.check import check_corpus

    with ProgressBar("opening files") as bar:
        summary = check_corpus(path, name=layout, progress=bar)
    if format_ is TableOrJson.JSON:
        values = asdict(summary)
        values["examples"] = [asdict(example) for example in summary.examples]
        print_json({"version": 1, **values})
    else:
        print_facts(_facts(summary))


def _facts(summary: CorpusSummary) -> dict[str, str]:
    """What people want to know, left out where there is nothing to say."""
    counted = {"emotions": summary.emotions, "partitions": summary.partitions, "left out": summary.skipped}
    examples = [f"{example.what} ({example.reason})" for example in summary.examples]
    facts = {
        "corpus": f"{summary.title} ({summary.name})",
        "licence": summary.licence,
        "utterances": f"{summary.utterances:,}, {summary.transcribed:,} of them transcribed",
        "length": f"{summary.hours:.2f} h",
        "utterance": f"{summary.duration_min_s:.2f} to {summary.duration_max_s:.2f} s, "
        f"median {summary.duration_median_s:.2f} s",
        "speakers": f"{summary.speakers:,}",
        **{name: ", ".join(f"{key} {count:,}" for key, count in counts.items()) for name, counts in counted.items()},
        "for example": "\n".join(examples),
    }
    return {name: value for name, value in facts.items() if value}
