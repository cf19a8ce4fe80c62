"""Render what the data look like: `python research/0-the-data/render.py DATA_DIR OUT_DIR`.

DATA_DIR is a folder in the Kaggle 2020 layout, OUT_DIR receives `README.md` and its figures.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import plots
from facts import (
    Raw,
    compare_genres,
    count_dirt,
    count_sizes,
    describe_blocks,
    measure_concentration,
    measure_franchises,
    read_raw,
)

USAGE = "usage: python research/0-the-data/render.py DATA_DIR OUT_DIR"
FIGURES = {
    "ratings.svg": plots.draw_ratings,
    "long-tails.svg": plots.draw_long_tails,
    "users.svg": plots.draw_users,
    "genres.svg": plots.draw_genres,
}


def render(data: Path, out: Path) -> None:
    """Write `README.md` and the figures about the files in `data`."""
    raw = read_raw(data)
    out.mkdir(parents=True, exist_ok=True)
    for name, draw in FIGURES.items():
        draw(raw, out / name)
    (out / "README.md").write_text(write_page(raw), encoding="utf-8")


def write_page(raw: Raw) -> str:
    """Tell the story of the data in Markdown; every number is computed here."""
    titles = measure_concentration(raw.ratings["anime_id"].value_counts())
    users = measure_concentration(raw.ratings["user_id"].value_counts())
    franchises = measure_franchises(raw)
    genres = compare_genres(raw)
    loved = (genres["ratings"] / genres["titles"]).where(genres["titles"] > 0.01).dropna().sort_values()
    mean = raw.ratings["rating"].mean()
    return f"""# 0. The data

What a recommender has to work with, measured on the raw files before anything is repaired. Rendered by
`python research/0-the-data/render.py DATA_DIR OUT_DIR`.

{_list(count_sizes(raw))}

## Ratings

The mean is {mean:.2f}, and {(raw.ratings["rating"] >= 7).mean():.0%} of the ratings are a 7 or better: users
watch what they expect to like. A rating of 7 or more counts as positive everywhere in this project.

![Share of each rating, by block of users](ratings.svg)

## Users: different samples, not one

User ids come in blocks of 100,000. Where a collection was put together from several samples, each block has its own
length of lists, its own severity and its own newest titles, and a model has to serve all of them.

{_table(describe_blocks(raw))}

![Mean rating by length of the list](users.svg)

## Long tails

The most rated 1 % of the titles draw {titles[0.01]:.0%} of all ratings, the first 10 % draw {titles[0.1]:.0%}, and
half of the titles share the last {1 - titles[0.5]:.0%}. Popularity is therefore a strong opponent, and a list of only
popular titles covers almost nothing. Users are uneven too: the busiest 10 % give {users[0.1]:.0%} of the ratings, so
every metric here is computed per user first.

![Ratings by rank of titles and users](long-tails.svg)

## Franchises are watched together

{_franchise_sentence(franchises)}

## Genres

Measured against how often they are made, and leaving out genres of fewer than 1 % of the titles,
{loved.index[-1]}, {loved.index[-2]} and {loved.index[-3]} are rated most,
{loved.index[0]}, {loved.index[1]} and {loved.index[2]} least.

![Share of genres among titles and ratings](genres.svg)

## Dirt

Nothing of this is fatal; ingestion sets aside what it can not use and says why.

{_table(count_dirt(raw))}
"""


def _franchise_sentence(franchises: Mapping[str, float]) -> str:
    if not franchises["pairs"]:
        return "No two titles of one franchise are rated often enough here to tell."
    together, alone = f"{franchises['seen with the other']:.0%}", f"{franchises['seen at all']:.0%}"
    return f"""In {franchises["pairs"]:,} pairs of titles of one franchise, {together} of those who rated the lesser
known one also rated the better known one; of all users {alone} did. No pattern is easier to learn from neighbours,
and it cuts both ways: ten seasons of one series are an easy hit and a dull list."""


def _list(entries: Mapping[str, str]) -> str:
    return "\n".join(f"- {name}: **{value}**" for name, value in entries.items())


def _table(table: pd.DataFrame) -> str:
    texts = table.map(lambda value: f"{value:,}" if isinstance(value, int) else str(value))
    lines = [" | ".join(row) for row in [list(texts.columns), ["---"] * texts.shape[1], *texts.to_numpy().tolist()]]
    return "\n".join(f"| {line} |" for line in lines)


def main(arguments: list[str]) -> int:
    """Run from the command line; 2 = wrong usage, 1 = the folder lacks a file."""
    if len(arguments) != 2:
        print(USAGE, file=sys.stderr)
        return 2
    data, out = map(Path, arguments)
    missing = [n for n in ("anime.csv", "anime_with_synopsis.csv", "rating_complete.csv") if not (data / n).is_file()]
    if missing:
        print(f"{data} lacks {', '.join(missing)}; give a folder in the Kaggle 2020 layout", file=sys.stderr)
        return 1
    render(data, out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
