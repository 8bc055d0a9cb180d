"""A recording as a data frame and as a plot."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator

import matplotlib as mpl
import numpy as np
import pandas
import pytest
from matplotlib import pyplot

from affetto.errors import MissingExtraError
from affetto.formats import FORMATS
from affetto.recording import Recording, Segment, join_segments
from affetto.timeline import Judgement

ANGRY, CALM = {"anger": 0.8, "sadness": 0.2}, {"anger": 0.4, "sadness": 0.6}
SEGMENTS = (Segment(0.5, 2.0, "oh no", "anger", ANGRY), Segment(3.0, 4.0, "well", "sadness", CALM))
TWO = join_segments("calls/a.wav", 5.0, SEGMENTS, Judgement(sure=0.7))
NOTHING = dict.fromkeys(ANGRY, 0.0)
NOBODY = Recording("rain.wav", 3.0, (), None, NOTHING, "", sure=False, shares=NOTHING)
WORDS = Recording("a.wav", 2.0, (Segment(0.0, 1.5, "oh no", None, {}),), None, {}, "oh no")


@pytest.fixture(autouse=True)
def drawn_nowhere() -> Iterator[None]:
    mpl.use("agg")
    yield
    pyplot.close("all")


@pytest.mark.parametrize("recording", [TWO, WORDS], ids=["emotion", "words"])
def test_a_frame_is_what_pandas_reads_from_csv(recording: Recording) -> None:
    pandas.testing.assert_frame_equal(
        recording.to_dataframe(), pandas.read_csv(io.StringIO(FORMATS["csv"].write(recording)))
    )


def test_frames_are_joined_with_those_where_nobody_speaks() -> None:
    frame = pandas.concat([NOBODY.to_dataframe(), TWO.to_dataframe()])
    pandas.testing.assert_frame_equal(frame, TWO.to_dataframe())


def test_a_plot_has_a_bar_an_emotion_and_segment() -> None:
    axes = TWO.plot()
    bars = {
        part.get_label(): [(bar.get_x(), bar.get_width(), bar.get_height()) for bar in part] for part in axes.containers
    }
    np.testing.assert_allclose(bars["anger"], [(0.5, 1.5, 0.8), (3.0, 1.0, 0.4)])
    np.testing.assert_allclose(bars["sadness"], [(0.5, 1.5, 0.2), (3.0, 1.0, 0.6)])
    assert [bar.get_y() for bar in axes.containers[1]] == pytest.approx([0.8, 0.4])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["sadness", "anger"]
    [pale] = axes.collections[0].get_paths()
    assert (pale.vertices[:, 0].min(), pale.vertices[:, 0].max()) == (3.0, 4.0)
    assert axes.get_title(loc="left") == "a.wav: not sure"


@pytest.mark.parametrize(("recording", "title"), [(NOBODY, "rain.wav: no speech"), (WORDS, "a.wav: words alone")])
def test_without_emotions_a_plot_says_so(recording: Recording, title: str) -> None:
    axes = recording.plot()
    assert (axes.get_title("left"), len(axes.patches), axes.get_xlim()[1]) == (title, 0, recording.duration_s)


def test_it_draws_on_given_axes_and_leaves_the_style_alone() -> None:
    before = dict(mpl.rcParams)
    axes = pyplot.figure().add_subplot()
    assert TWO.plot(axes) is axes
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(("module", "use"), [("pandas", Recording.to_dataframe), ("matplotlib", Recording.plot)])
def test_without_its_library_it_says_what_to_install(
    module: str, use: Callable[[Recording], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"{module} is not installed; pip install .affetto.notebook."):
        use(TWO)
