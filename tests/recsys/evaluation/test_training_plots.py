import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from recsys.evaluation.reliability import ReliabilityBin, compute_calibration_error, compute_reliability
from recsys.evaluation.training_plots import plot_importance, plot_learning_curves, plot_reliability
from recsys.exceptions import SchemaMismatchError


def test_bins_are_tenths_by_prediction() -> None:
    predicted = np.linspace(1, 10, 100)
    bins = compute_reliability(predicted[::-1], (predicted + 0.5)[::-1])
    assert [found.n for found in bins] == [10] * 10
    assert [found.observed - found.predicted for found in bins] == pytest.approx([0.5] * 10)
    assert bins[0].predicted == pytest.approx(predicted[:10].mean())
    assert compute_calibration_error(bins) == pytest.approx(0.5)


@given(st.lists(st.tuples(st.floats(1, 10), st.integers(1, 10)), max_size=40))
def test_bins_lose_no_rating(pairs: list[tuple[float, int]]) -> None:
    predicted, observed = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    bins = compute_reliability(predicted, observed)
    assert sum(found.n for found in bins) == len(pairs)
    assert sum(found.n * found.observed for found in bins) == pytest.approx(sum(observed))
    assert [found.predicted for found in bins] == pytest.approx(sorted(found.predicted for found in bins))


def test_no_rating_has_no_error() -> None:
    assert math.isnan(compute_calibration_error(compute_reliability([], [])))
    with pytest.raises(SchemaMismatchError, match="do not fit"):
        compute_reliability([1.0], [])


def draw(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def test_pictures_show_what_they_were_given() -> None:
    curves = {
        "rating": {"validation": {"l1": [1.2, 1.1, 1.15]}},
        "relevance": {"validation": {"ndcg@10": [0.2, 0.3]}},
    }
    figure = plot_learning_curves(curves, {"rating": 2, "relevance": 0})
    rating, relevance = figure.axes
    assert list(rating.lines[0].get_ydata()) == [1.2, 1.1, 1.15]
    assert rating.get_ylabel() == "mean absolute error"
    assert [text.get_text() for text in rating.get_legend().get_texts()] == ["validation", "kept 2"]
    assert [text.get_text() for text in relevance.get_legend().get_texts()] == ["validation"]
    assert draw(figure).startswith(b"\x89PNG")

    several = {"relevance": {"1: lambdarank": {"ndcg@10": [0.2, 0.3]}, "2: binary": {"ndcg@10": [0.1, 0.3, 0.2]}}}
    (relevance,) = plot_learning_curves(several, {"relevance": 4}).axes
    assert [text.get_text() for text in relevance.get_legend().get_texts()] == ["1: lambdarank", "2: binary"]
    assert len({line.get_color() for line in relevance.lines}) == 2

    gains = {"rating": {"age": 3.0, "year": 1.0, "type": 0.0}, "relevance": {"age": 0.0}}
    figure = plot_importance(gains, n_shown=2)
    bars = figure.axes[0].patches
    assert [bar.get_width() for bar in bars] == [25.0, 75.0]  # the largest is drawn at the top
    assert draw(figure).startswith(b"\x89PNG")

    figure = plot_reliability([ReliabilityBin(4.0, 5.0, 3), ReliabilityBin(8.0, 8.0, 1)])
    assert list(figure.axes[0].lines[1].get_ydata()) == [5.0, 8.0]
    assert draw(figure).startswith(b"\x89PNG")
