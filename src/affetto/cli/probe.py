"""``affetto probe``: look inside the recogniser."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from affetto.cli.arguments import Device, TableOrJson, Threads, names_in
from affetto.cli.terminal import ProgressBar, print_json, print_table
from affetto.pretrained import DEFAULT

if TYPE_CHECKING:
    from affetto.probe.correlation import BestUnit
    from affetto.probe.layers import LayerCurve, LayerScore
    from affetto.probe.neurons import Neurons
    from affetto.probe.projections import Projections, ProjectionScore

app = typer.Typer(
    help=r"Look inside the recogniser: what its layers know of the voice. Needs affetto\[train].", no_args_is_help=True
)

Corpus = Annotated[Path, Option(help="The corpus's folder or manifest, relative to the data folder.")]
Data = Annotated[Path, Option(envvar="AFFETTO_DATA", help="The folder that the corpus lies in.", show_default="here")]
Recogniser = Annotated[str, Option(help="An embedded model's name, or a folder with recogniser.safetensors.")]
Classes = Annotated[str, Option(help="Emotions whose utterances are used, with commas between; all: every utterance.")]
Limit = Annotated[int | None, Option(min=1, help="So many utterances, spread evenly.", show_default="all utterances")]
Output = Annotated[Path | None, Option(help="The folder to write to.", show_default="runs/PROBE-CORPUS")]
Seed = Annotated[int, Option(min=0, help="Of everything that chance decides.")]

FOUR = "anger,happiness,neutral,sadness"


@app.command()
def neurons(  # noqa: PLR0913, PLR0917
    corpus: Corpus = Path("crema-d"),
    data: Data = Path(),
    recogniser: Recogniser = DEFAULT,
    classes: Classes = FOUR,
    limit: Limit = None,
    output: Output = None,
    untrained: Annotated[
        bool, Option("--untrained", help="Look into a network of the same shape with random weights.")
    ] = False,
    permutations: Annotated[int, Option(min=1, help="Of the null that p-values come from.")] = 199,
    show: Annotated[list[str] | None, Option(metavar="ID", help="An utterance to draw; may be repeated.")] = None,
    seed: Seed = 1,
    device: Device = "auto",
    threads: Threads = None,
    format_: TableOrJson = "table",
) -> None:
    """Find the units that follow loudness, pitch, voicing, speaking rate and spectral tilt.

    Units are chosen on one half of the speakers and measured on the other. The folder keeps the correlations of all
    units; [cyan]affetto probe figures[/] draws it.

    [bold]Example[/]
    [cyan]affetto probe neurons --data ~/corpora --corpus crema-d --limit 500[/]
    """
    from affetto.probe.neurons import NeuronConfig, probe_neurons

    values = _common(corpus, classes, limit, recogniser, seed)
    values |= {"untrained": untrained, "permutations": permutations, "show": tuple(show or ())}
    folder = output or Path("runs") / f"neurons{'-untrained' if untrained else ''}-{corpus.stem}"
    with ProgressBar("reading") as bar:
        found = probe_neurons(NeuronConfig.parse(values), data, folder, device=device, progress=bar)
    if format_ == "json":
        _print_rows(folder, "best", found.best)
    else:
        _show_neurons(found)


def _print_rows(folder: Path, name: str, rows: Sequence[BestUnit | LayerScore | ProjectionScore]) -> None:
    """As JSON, in which None stands for what is not a number."""
    from affetto.report.render import plain

    print_json({"version": 1, "folder": str(folder), name: plain([row._asdict() for row in rows])})


def _interval(low: float, high: float, form: str = ".3f") -> str:
    return "" if math.isnan(low) else f"{low:{form}} to {high:{form}}"


def _common(corpus: Path, classes: str, limit: int | None, recogniser: str, seed: int) -> dict[str, object]:
    named = () if classes == "all" else names_in(classes)
    return {"corpus": corpus, "classes": named, "limit": limit, "recogniser": recogniser, "seed": seed}


def _show_neurons(found: Neurons) -> None:
    counts, targets = found.facts["counts"], list(found.facts["targets"])
    choosing, measuring = len(found.facts["choosing"]), len(found.facts["measuring"])
    best = [row for row in found.best if row.place == 1]
    rows = [
        (
            row.target,
            row.level,
            row.method,
            f"{row.layer} {row.number}",
            f"{row.measured:+.3f}",
            _interval(row.low, row.high, "+.2f"),
            f"{row.p:.3f}",
        )
        for row in sorted(best, key=lambda row: (targets.index(row.target), row.level, row.method))
    ]
    print_table(("target", "by", "method", "unit", "r", "95 %", "p"), rows, texts=4)
    said = (
        f"{counts['units']:,} units, chosen on {choosing} speakers and measured on {measuring} "
        f"others ({counts['measuring_utterances']:,} utterances); p for all units together"
    )
    typer.echo("\n".join([said, *gaps(found), f"all units: {found.root}"]))


def gaps(found: Neurons) -> list[str]:
    """What is missing, a line each."""
    facts = found.facts
    lines = [
        f"{count:,} utterances have no {target}: they do not count for it"
        for target, count in facts["utterances_without"].items()
        if count
    ]
    compared = {row.target for row in found.best}
    lines += [f"no unit could be compared with {target}" for target in facts["targets"] if target not in compared]
    still = min(facts["units_never_compared"].values())
    if still:
        lines.append(f"{still:,} of {facts['counts']['units']:,} units never change: they follow nothing")
    if facts["unreadable"]:
        lines.append(f"{len(facts['unreadable']):,} utterances were left out: their sound cannot be read")
    return lines


@app.command()
def layers(  # noqa: PLR0913, PLR0917
    corpus: Corpus = Path("crema-d"),
    data: Data = Path(),
    recogniser: Recogniser = DEFAULT,
    classes: Classes = FOUR,
    limit: Limit = None,
    output: Output = None,
    folds: Annotated[int, Option(min=3, help="Of speakers.")] = 10,
    control: Annotated[bool, Option(help="Probe a network of the same shape with random weights, too.")] = True,
    seed: Seed = 1,
    device: Device = "auto",
    threads: Threads = None,
    format_: TableOrJson = "table",
) -> None:
    """Measure how much each layer knows of emotion: UAR of a linear probe on its mean, on held-out speakers.

    Stopped, the same command goes on.

    [bold]Example[/]
    [cyan]affetto probe layers --data ~/corpora --corpus crema-d[/]
    """
    from affetto.probe.layers import LayersConfig, probe_layers

    values = _common(corpus, classes, limit, recogniser, seed) | {"folds": folds, "control": control}
    folder = output or Path("runs") / f"layers-{corpus.stem}"
    with ProgressBar("probing layers") as bar:
        found = probe_layers(LayersConfig.parse(values), data, folder, device=device, progress=bar)
    if format_ == "json":
        _print_rows(folder, "scores", found.scores)
    else:
        _show_layers(found)


def _show_layers(found: LayerCurve) -> None:
    rows = []
    for row in found.scores:
        behind = "best" if row.behind == 0 else f"{row.behind:.3f}"
        if not math.isnan(row.behind_low):
            behind += f" ({_interval(row.behind_low, row.behind_high, '+.3f')})"
        layer = "" if row.network == row.layer else row.layer
        rows.append((row.network, layer, f"{row.width:,}", f"{row.uar:.3f}", _interval(row.low, row.high), behind))
    print_table(("network", "layer", "width", "UAR", "95 %", "behind the best"), rows, texts=2)
    if found.facts["unreadable"]:
        typer.echo(f"{found.facts['unreadable']:,} utterances were left out: their sound cannot be read")
    typer.echo(f"predictions of each utterance: {found.root}")


@app.command()
def projections(  # noqa: PLR0913, PLR0917
    corpus: Corpus = Path("crema-d"),
    data: Data = Path(),
    recogniser: Recogniser = DEFAULT,
    classes: Classes = FOUR,
    limit: Limit = None,
    output: Output = None,
    rnn: Annotated[
        str | None,
        Option(help="Layers to train a GRU on, with commas between; none: no layer.", show_default="GRU layers"),
    ] = None,
    seed: Seed = 1,
    device: Device = "auto",
    threads: Threads = None,
    format_: TableOrJson = "table",
) -> None:
    """Project utterances of held-out speakers to a plane, layer by layer, with numbers to hold the pictures against.

    A layer is averaged over time (MP), or read by a GRU that is trained on other speakers (RNN).

    [bold]Example[/]
    [cyan]affetto probe projections --data ~/corpora --corpus crema-d --classes anger,sadness[/]
    """
    from affetto.probe.projections import ProjectionsConfig, probe_projections

    values = _common(corpus, classes, limit, recogniser, seed)
    if rnn is not None:
        values["recurrent"] = () if rnn == "none" else names_in(rnn)
    folder = output or Path("runs") / f"projections-{corpus.stem}"
    with ProgressBar("projecting") as bar:
        found = probe_projections(ProjectionsConfig.parse(values), data, folder, device=device, progress=bar)
    if format_ == "json":
        _print_rows(folder, "scores", found.scores)
    else:
        _show_projections(found)


def _show_projections(found: Projections) -> None:
    everything = "+".join(found.facts["config"]["classes"])
    rows = []
    for row in found.scores:
        if row.classes == everything:
            numbers = (row.silhouette, row.tsne, row.pca)
            shown = ("–" if math.isnan(number) else f"{number:+.3f}" for number in numbers)
            rows.append((row.name, f"{row.uar:.3f}", _interval(row.low, row.high), *shown))
    print_table(("representation", "UAR", "95 %", "silhouette", "in t-SNE", "in PCA"), rows)
    typer.echo(f"{len(found.points):,} utterances of held-out speakers; every two classes, too: {found.root}")


@app.command()
def figures(
    probe: Annotated[Path, Argument(help="The folder of a finished probe.")],
    output: Annotated[Path | None, Option(help="Where the files go.", show_default="PROBE/figures")] = None,
    classes: Annotated[
        str | None, Option(help="Of a probe of projections, the two classes to draw, with a comma.", show_default="all")
    ] = None,
) -> None:
    r"""Draw what a probe found, as PNG and SVG with captions.

    Needs [cyan]pip install "affetto\[report,train]"[/].

    [bold]Example[/]
    [cyan]affetto probe figures runs/neurons-crema-d[/]
    [cyan]affetto probe figures runs/projections-crema-d --classes anger,happiness --output pair[/]
    """
    from affetto.probe.figures import write_figures

    for path in write_figures(probe, output or probe / "figures", names_in(classes or "")):
        typer.echo(str(path))
