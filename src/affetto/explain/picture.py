"""The pictures of what is predicted for a recording and why: its course as a whole, and its passages looked into."""

from __future__ import annotations

import textwrap
from functools import partial
from pathlib import PurePath

import numpy as np

from affetto.drawing.course import draw_course
from affetto.drawing.figures import ACCENT, INK, MUTED, Canvas, Picture, draw_png, draw_svg
from affetto.drawing.page import asset, template
from affetto.drawing.words import named
from affetto.errors import OutputError
from affetto.explain.explanation import DECIDING, WINDOW_S, Explanation, Passage
from affetto.explain.passage import draw_passage, inches, signed
from affetto.timeline import clock, likeliest

FORMS = ("png", "svg", "html")

_MOST_ROWS = 300
_OVERVIEW_INCHES = 2.7
_LETTERS = 128  # of a line
_SHARE = f"{DECIDING:.0%}".replace("50%", "half")


def draw_explanation(found: Explanation, form: str) -> bytes:
    """An explanation as a file in one of `FORMS`: a picture as PNG or SVG, or a page that needs nothing else.

    Raises OutputError where there is no such form, MissingExtraError where matplotlib or jinja2 is not installed.

    >>> nothing = Explanation("a.wav", 2.0, "no speech", {"anger": 0.0}, (), np.zeros((10, 2)), ())
    >>> draw_explanation(nothing, "png")[1:4]
    b'PNG'
    """
    if form == "png":
        return draw_png(whole_picture(found))
    if form == "svg":
        return draw_svg(whole_picture(found))
    if form != "html":
        raise OutputError(f"no explanation can be a .{form}", f"choose {named(FORMS)}", form)
    page = template("explained.html.jinja")(
        name=_name(found),
        statement=found.statement,
        drawn=[(picture, draw_svg(picture)) for picture in pictures(found)],
        rows=[
            (clock(each.start_s), clock(each.end_s), *(f"{value:.0%}" for value in each.probabilities.values()))
            for each in found.moments[:_MOST_ROWS]
        ],
        more=max(0, len(found.moments) - _MOST_ROWS),
        header=("from", "to", *found.probabilities),
        style=asset("page.css"),
    )
    return page.encode("utf-8", errors="backslashreplace")  # a file's name need not be valid text


def pictures(found: Explanation) -> list[Picture]:
    """The pictures of a page: the whole recording, and one for each passage that is looked into."""
    draw = partial(_draw_overview, found=found)
    overview = Picture("overview", "The whole recording", draw, _caption(found), _alt(found), _OVERVIEW_INCHES)
    return [overview, *(_passage_picture(number, each) for number, each in enumerate(found.passages, start=1))]


def _passage_picture(number: int, passage: Passage) -> Picture:
    draw = partial(draw_passage, passage=passage)
    texts = _passage_caption(passage), _passage_alt(passage)
    return Picture(f"passage-{number}", heading(passage), draw, *texts, inches(passage))


def whole_picture(found: Explanation) -> Picture:
    """Everything in one picture, with its captions written into it: what a PNG or an SVG holds."""
    overview, *passages = pictures(found)
    parts = [overview._replace(title=f"{overview.title}: {found.statement}"), *passages]
    if len(found.moments) == 1 and passages:
        parts = passages
    notes = ["\n".join(textwrap.wrap(part.caption, _LETTERS)) for part in parts]
    heights = [part.inches + 0.515 + 0.165 * note.count("\n") for part, note in zip(parts, notes, strict=True)]
    name = _name(found)

    def draw(canvas: Canvas) -> None:
        figures = canvas.figure.subfigures(len(parts), 1, squeeze=False, height_ratios=heights)[:, 0]
        for figure, part, note in zip(figures, parts, notes, strict=True):
            figure.suptitle(part.title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
            figure.supxlabel(note, x=0.01, ha="left", fontsize=8, color=MUTED, linespacing=1.35)
            part.draw(Canvas(figure))
        title = name if len(name) <= _LETTERS // 2 else "…" + name[1 - _LETTERS // 2 :]
        canvas.figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")

    title = f"{name}: {found.statement}"
    return Picture("explained", title, draw, overview.caption, overview.alt, sum(heights) + 0.4)


def _name(found: Explanation) -> str:
    return PurePath(found.source).name


def heading(passage: Passage) -> str:
    """What is predicted for a passage, and when."""
    moment, emotion = passage.moment, likeliest(passage.moment.probabilities)
    sure = "" if passage.statement == emotion else f"{passage.statement}: "
    return f"{clock(moment.start_s)} to {clock(moment.end_s)}: {sure}{emotion} {moment.probabilities[emotion]:.0%}"


def _passage_caption(passage: Passage) -> str:
    decision = passage.decision
    words = _deciding_words(passage)
    during = f" (during “{named(words)}”)" if words else ""
    checked = "" if np.isnan(decision.agreement) else f"; r = {decision.agreement:.2f} with the bars"
    layers = f"recogniser layer{'s' if len(decision.layers) > 1 else ''} {', '.join(decision.layers)}"
    reads = [layers] if decision.layers else []
    reads += ["the words that are recognised"] if "word" in decision.kinds else []
    reads += ["features of its own"] if "feature" in decision.kinds else []
    return (
        f"Framed, and dark among the bars: the fewest moments that make up {_SHARE} of all that speaks for "
        f"{decision.emotion}{during}. Bars: how much each moment speaks for it (blue) or against it (orange), in "
        f"logits, by integrated gradients of the head, which reads {' and '.join(reads)}. They add up to "
        f"{signed(decision.score - decision.baseline)}, the difference to a voice that is the average of the training "
        f"speech from beginning to end, and would be predicted as {decision.baseline_emotion}. Dots: how far the score "
        f"falls without that moment{checked}. Last panel: the same sum by {' and '.join(decision.kinds)}; darker is "
        "more, by its square root. Emotion over time: what the head predicts for the "
        f"{WINDOW_S:g} s around each point alone."
    )


def _deciding_words(passage: Passage) -> list[str]:
    """Words half of which lie in moments that decided, or in which half of such a moment lies."""
    edges_s = passage.since_s + passage.decision.edges_s
    chosen = passage.decision.deciding
    found = []
    for word in passage.words:
        inside = np.clip(np.minimum(edges_s[1:], word.end_s) - np.maximum(edges_s[:-1], word.start_s), 0, None)
        shorter_s = min(word.end_s - word.start_s, float(np.diff(edges_s).max()))
        if inside[chosen].sum() > 0.5 * max(shorter_s, 1e-6):
            found.append(word.text)
    return found


def _passage_alt(passage: Passage) -> str:
    strongest = passage.since_s + passage.decision.edges_s[int(passage.decision.steps.argmax())]
    parts = ", ".join(f"{part.name} {part.total:+.2f}" for part in passage.decision.parts)
    return f"{heading(passage)}. Strongest moment: {clock(strongest)}. What adds to the score: {parts}."


def _caption(found: Explanation) -> str:
    if not found.moments:
        why = "The recording is digital silence: check the microphone or the export." if found.silent else ""
        return f"Nobody speaks in these {found.duration_s:.1f} s, so there is no emotion to predict. {why}".strip()
    emotions = ", ".join(f"{name} {value:.0%}" for name, value in found.probabilities.items())
    times = [clock(each.moment.start_s) for each in found.passages]
    looked = f"Marked and looked into: {named(times, most=12)}. " if times else ""
    return (
        "Top: the sound. Below: each stretch of speech, filled with the probability of each emotion from bottom to "
        f"top; white is where nobody speaks. {looked}Over all speech: {emotions}."
    )


def _alt(found: Explanation) -> str:
    each = "; ".join(f"{clock(moment.start_s)} {likeliest(moment.probabilities)}" for moment in found.moments[:40])
    return f"Emotion in {len(found.moments)} stretches of speech. {each}".strip()


def _draw_overview(canvas: Canvas, found: Explanation) -> None:
    wave, emotion = canvas.figure.subplots(2, 1, sharex=True, height_ratios=(0.7, 1.0))
    times_s = (np.arange(len(found.outline)) + 0.5) * found.duration_s / len(found.outline)
    wave.fill_between(times_s, found.outline[:, 0], found.outline[:, 1], color=MUTED, linewidth=0.3)
    highest = max(1e-3, float(np.abs(found.outline).max()))
    wave.set(ylim=(-1.05 * highest, 1.05 * highest), yticks=[])
    for each in found.passages:
        wave.axvspan(each.moment.start_s, each.moment.end_s, color=ACCENT, alpha=0.15, linewidth=0)
    wave.set_title("sound")
    draw_course(emotion, found.moments, list(found.probabilities), found.duration_s)
    emotion.set_title("emotion of each stretch of speech")
    if found.moments:
        for each in found.passages:
            emotion.axvspan(each.moment.start_s, each.moment.end_s, fill=False, edgecolor=INK, linewidth=1.4)
        emotion.legend(loc="upper left", bbox_to_anchor=(0, -0.42), ncols=len(found.probabilities), handlelength=1)
    else:
        emotion.text(0.5, 0.5, found.statement, transform=emotion.transAxes, ha="center", va="center", fontsize=11)
