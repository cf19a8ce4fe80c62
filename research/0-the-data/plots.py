"""The figures: one message each, readable without colour."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from facts import Raw, compare_genres, split_blocks
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

mpl.use("Agg")

# Okabe & Ito (2008): told apart with every kind of colour vision.
BLUE, ORANGE, GREEN, YELLOW, PINK, GREY = "#0072B2", "#D55E00", "#009E73", "#F0E442", "#CC79A7", "#999999"
COLORS = (BLUE, ORANGE, GREEN, YELLOW, PINK)
STYLE = {
    "figure.figsize": (7.2, 3.6),
    "figure.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E5E5E5",
    "axes.axisbelow": True,
    "font.size": 10,
    "savefig.bbox": "tight",
    "svg.hashsalt": "the-data",
    # Text stays text: smaller, searchable, read aloud by screen readers.
    "svg.fonttype": "none",
}
CURVE_POINTS = 300


@contextmanager
def figure(path: Path, title: str, x: str, y: str) -> Iterator[Axes]:
    """Open axes with title and labels; save them as SVG, without a date, when done."""
    with mpl.rc_context(STYLE):
        drawing, axes = plt.subplots()
        axes.set_title(title, loc="left", fontweight="bold")
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        yield axes
        drawing.savefig(path, format="svg", metadata={"Date": None})
        plt.close(drawing)


def draw_ratings(raw: Raw, path: Path) -> None:
    """Draw how often each mark is given, by block of users."""
    blocks = split_blocks(raw)
    if len(blocks) > len(COLORS):
        blocks = {"all": raw.ratings}
    with figure(path, "Users mark what they like", "rating", "share of the ratings") as axes:
        width = 0.8 / len(blocks)
        for place, (name, ratings) in enumerate(blocks.items()):
            shares = ratings["rating"].value_counts(normalize=True).reindex(range(1, 11), fill_value=0)
            offset = (place - (len(blocks) - 1) / 2) * width
            axes.bar(shares.index + offset, shares, width, color=COLORS[place], label=name, edgecolor="white")
        axes.set_xticks(range(1, 11))
        axes.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1, decimals=0))
        axes.legend(frameon=False)


def draw_long_tails(raw: Raw, path: Path) -> None:
    """Draw ratings by rank, for titles and for users."""
    with figure(path, "Two long tails", "rank (log)", "number of ratings (log)") as axes:
        for color, line, column, label in ((BLUE, "-", "anime_id", "titles"), (ORANGE, "--", "user_id", "users")):
            counts = np.sort(raw.ratings[column].value_counts().to_numpy())[::-1]
            ranks = np.unique(np.geomspace(1, len(counts), CURVE_POINTS).astype(int))
            axes.loglog(ranks, counts[ranks - 1], line, color=color, label=label, linewidth=2)
        axes.legend(frameon=False)


def draw_users(raw: Raw, path: Path) -> None:
    """Draw mean and width of the marks by length of the list."""
    users = raw.ratings.groupby("user_id")["rating"].agg(["size", "mean", "std"])
    edges = [1, 3, 6, 12, 25, 50, 100, 200, 400, 10**9]
    bins = pd.cut(users["size"], edges, right=False, labels=[f"{low}+" for low in edges[:-1]])
    by_size = users.groupby(bins, observed=True)["mean"].quantile([0.1, 0.5, 0.9]).unstack()
    title = "Long lists are marked harder"
    with figure(path, title, "ratings in the list (at least)", "a user's mean rating") as axes:
        places = np.arange(len(by_size))
        axes.vlines(places, by_size[0.1], by_size[0.9], color=GREY, linewidth=5, label="middle 80 % of the users")
        axes.plot(places, by_size[0.5], "o", color=BLUE, markersize=8, label="median")
        axes.set_xticks(places, list(by_size.index))
        axes.set_ylim(4, 10.2)
        axes.legend(frameon=False, loc="lower left")


def draw_genres(raw: Raw, path: Path, *, n: int = 20) -> None:
    """Draw the share of the commonest genres among titles and among ratings."""
    shares = compare_genres(raw).head(n)[::-1]
    with figure(path, "What is made and what is rated", "share that carries the genre", "") as axes:
        axes.figure.set_size_inches(7.2, 5.2)
        places = np.arange(len(shares))
        axes.hlines(places, shares["titles"], shares["ratings"], color=GREY, linewidth=1.5)
        axes.plot(shares["titles"], places, "o", color=ORANGE, label="of the titles")
        axes.plot(shares["ratings"], places, "D", color=BLUE, label="of the ratings")
        axes.set_yticks(places, list(shares.index))
        axes.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1, decimals=0))
        axes.legend(frameon=False, loc="lower right")
