"""Draws the pictures of docs/results/README.md from the tables of its pages: `python docs/pictures/results.py`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from affetto.drawing.figures import ACCENT, INK, MUTED, RULE, SECOND, Canvas, Picture, draw_svg

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results"
CHANCE = 0.25
Rows = list[tuple[str, list[float]]]


def table(page: str, row: str, column: int) -> float:
    """The number in a column of the first row of a page that begins so."""
    text = (RESULTS / page).read_text(encoding="utf-8")
    found = re.search(rf"^\| {re.escape(row)}(?:: [^|]*)? \|(.*)\|$", text, re.MULTILINE)
    assert found is not None, (page, row)
    return float(found[1].split("|")[column])


def bars(rows: Rows, legend: tuple[str, ...]) -> Callable[[Canvas], None]:
    """A bar for each number of a row, by name; chance is a line."""

    def draw(canvas: Canvas) -> None:
        thick = 0.8 / len(legend)
        (axes,) = canvas.panels(
            1, inches=0.7 + 0.3 * len(rows) if len(legend) == 1 else 1.0 + 0.2 * len(legend) * len(rows)
        )
        for series, name in enumerate(legend):
            colour = (ACCENT, SECOND, MUTED)[series]
            places = [place + (series - (len(legend) - 1) / 2) * thick for place in range(len(rows))]
            values = [values[series] for _, values in rows]
            axes.barh(places, values, thick * 0.88, color=colour, label=name)
            for place, value in zip(places, values, strict=True):
                axes.text(value + 0.008, place, f"{value:.2f}"[1:], va="center", fontsize=8, color=INK)
        axes.set_yticks(range(len(rows)), [name for name, _ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.axvline(CHANCE, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.text(CHANCE, -0.53, "chance", ha="center", va="bottom", fontsize=8, color=MUTED)
        axes.set(xlim=(0, 1), xlabel="UAR")
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=RULE)
        if len(legend) > 1:
            canvas.figure.legend(loc="outside lower center", ncols=len(legend))

    return draw


def recognisers() -> Picture:
    """The same heads over three recognisers."""
    heads = {
        "MP-3": "mean of layer 3",
        "RNN-3": "new GRU over layer 3",
        "progressive-3": "mean of layer 3 and own branch",
        "all layers, means and deviations": "all layers, means and deviations",
    }
    columns = {"DeepSpeech 2 (10 h)": 0, "Whisper tiny.en": 2, "Whisper base": 3}
    rows = [
        (shown, [table("recognisers.md", row, column) for column in columns.values()]) for row, shown in heads.items()
    ]
    return Picture("recognisers", "Heads over recognisers, CREMA-D", bars(rows, tuple(columns)), "", "")


def across() -> Picture:
    """The same layers within a corpus and across."""
    rows = [
        ("DeepSpeech 2 (10 h)", 0, range(3, 4)),
        ("Whisper tiny.en", 2, range(1, 5)),
        ("Whisper base", 3, range(1, 7)),
    ]
    values = [
        (f"{name}, layer {x}", [table("recognisers.md", f"MP-{x}", column), table("across.md", f"{name}, MP-{x}", 4)])
        for name, column, layers in rows
        for x in layers
    ]
    legend = ("CREMA-D, speakers left out", "four corpora, each left out (mean)")
    return Picture("across", "Within a corpus and across", bars(values, legend), "", "")


def better() -> Picture:
    """Does better recognition mean better emotion? The mean of layer 3 over recognisers of different WER."""
    names = ("DeepSpeech 2 (10 h)", "`tiny`", "Whisper tiny.en", "Whisper base")
    places = [table("recognition.md", name, 0) for name in names]
    lines = {"CREMA-D, speakers left out": 1, "four corpora, each left out (mean)": 2}

    def draw(canvas: Canvas) -> None:
        (axes,) = canvas.panels(1, inches=2.6)
        for (name, column), colour in zip(lines.items(), (ACCENT, SECOND), strict=True):
            axes.plot(places, [table("recognition.md", each, column) for each in names], "o-", color=colour, label=name)
        for name, place in zip(names, places, strict=True):
            high = table("recognition.md", name, 1) + (-0.11 if name == "Whisper base" else 0.03)
            axes.text(place, high, name.strip("`"), ha="center", va="bottom", fontsize=8, color=INK)
        axes.axhline(CHANCE, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.set(xlim=(0.8, 0), ylim=(0.2, 1), xlabel="WER on LibriSpeech", ylabel="UAR")
        axes.grid(axis="y", color=RULE)
        canvas.figure.legend(loc="outside lower center", ncols=2)

    return Picture("better", "Better recognition, better emotion?", draw, "", "")


def strangers() -> Picture:
    """The embedded models under other conditions and on other corpora."""
    names = {
        "CREMA-D, unseen speakers": "as they are",
        "... by telephone": "telephone (8 kHz, G.711)",
        "... in white noise, 10 dB": "white noise, 10 dB",
        "... in babble, 10 dB": "babble, 10 dB",
        "RAVDESS": "RAVDESS, as they are",
        "SAVEE": "SAVEE, as they are",
    }
    models = ("tiny", "small")
    of_tiny = [row if row[0].islower() else f"`tiny`, {row}" for row in names.values()]  # CREMA-D's have a table
    found = [[one, f"`small`, {row}"] for one, row in zip(of_tiny, names.values(), strict=True)]
    rows = [(shown, [table("strangers.md", row, 1) for row in each]) for shown, each in zip(names, found, strict=True)]
    return Picture("strangers", "Strangers", bars(rows, models), "", "")


def main() -> None:
    """Writes them as SVG."""
    for picture in (recognisers(), across(), better(), strangers()):
        (HERE / f"results-{picture.name}.svg").write_bytes(draw_svg(picture))


if __name__ == "__main__":
    main()
