"""Writes a sample world as the three files of the Kaggle 2020 layout."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from recsys.data.sample_world import audience, missing_values
from recsys.data.sample_world.catalog import build_anime, build_synopsis_table
from recsys.data.sample_world.stories import build_stories
from recsys.data.sample_world.synopses import build_synopses
from recsys.data.sample_world.tastes import Picks, Tastes, build_tastes, draw_history_lengths, draw_picks
from recsys.data.sample_world.titles import build_stems, build_titles
from recsys.data.sample_world.works import build_works
from recsys.exceptions import ConfigurationError

ANIME_FILE, SYNOPSIS_FILE, RATING_FILE = "anime.csv", "anime_with_synopsis.csv", "rating_complete.csv"
FILES = (ANIME_FILE, SYNOPSIS_FILE, RATING_FILE)
FEWEST_ITEMS = 20


def write_sample_world(directory: Path, *, n_users: int, n_items: int, n_ratings: int, seed: int) -> None:
    """Write `anime.csv`, `anime_with_synopsis.csv` and `rating_complete.csv`.

    The files appear all at once or not at all: they are written beside `directory`, which is then renamed into place.
    An earlier world in `directory` is replaced. The same arguments give the same bytes. Memory is bounded by the
    catalog, not by the ratings.

    Parameters
    ----------
    directory
        Where the files go; created with its parents.
    n_users
        Users with at least one rating, ids 1..n_users.
    n_items
        Rows of `anime.csv`, at least 20; some 6 % more titles exist that only ratings name.
    n_ratings
        Rows of `rating_complete.csv`, from `n_users` up to half of all pairs of users and titles.
    seed
        Not negative.

    Raises
    ------
    ConfigurationError
        If the sizes are impossible or `directory` holds anything but an earlier world.
    """
    _check_sizes(n_users, n_items, n_ratings, seed)
    directory = directory.absolute()
    _check_target(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{directory.name}.partial-", dir=directory.parent))
    try:
        _write_files(partial, n_users, n_items, n_ratings, seed)
        partial.chmod(0o755)
        _move_into_place(partial, directory)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_sizes(n_users: int, n_items: int, n_ratings: int, seed: int) -> None:
    if n_users < 1:
        raise ConfigurationError(f"a world needs users: n_users is {n_users}, give at least 1")
    if n_items < FEWEST_ITEMS:
        raise ConfigurationError(f"a world needs titles: n_items is {n_items}, give at least {FEWEST_ITEMS}")
    if n_ratings < n_users:
        raise ConfigurationError(f"every user rates something: n_ratings is {n_ratings}, give at least {n_users}")
    if n_ratings > n_users * n_items // 2:
        raise ConfigurationError(
            f"{n_users} users can not rate {n_items} titles {n_ratings} times;"
            f" give at most half of all pairs, {n_users * n_items // 2}"
        )
    if seed < 0:
        raise ConfigurationError(f"seed is {seed}, give a number that is not negative")


def _check_target(directory: Path) -> None:
    if not directory.exists():
        return
    if not directory.is_dir():
        raise ConfigurationError(f"{directory} is a file; name a folder for the sample world")
    foreign = sorted(path.name for path in directory.iterdir() if path.name not in FILES)
    if foreign:
        raise ConfigurationError(f"{directory} holds {foreign[0]!r}, no sample world; name an empty or new folder")


def _move_into_place(partial: Path, directory: Path) -> None:
    if directory.exists() and any(directory.iterdir()):
        with tempfile.TemporaryDirectory(prefix=f".{directory.name}.replaced-", dir=directory.parent) as old:
            directory.rename(Path(old) / directory.name)
            partial.rename(directory)
    else:
        partial.rename(directory)  # POSIX replaces an empty folder


def _write_files(directory: Path, n_users: int, n_items: int, n_ratings: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_unlisted = max(1, round(n_items * missing_values.UNLISTED_TITLE_SHARE))
    stories = build_stories(rng, n_items + n_unlisted)
    works = build_works(rng, stories)
    stems = build_stems(rng, stories)
    titles = build_titles(rng, stories, works, stems)
    synopses = build_synopses(rng, stories, works, stems)
    mean_length = n_ratings / n_users
    tastes = audience.centre_tastes(rng, build_tastes(stories, works), mean_length)
    panel = audience.draw_panel(rng, tastes, mean_length)
    listed = audience.select_listed(panel, n_items, missing_values.UNLISTED_RATING_SHARE)
    anime = build_anime(rng, stories, works, audience.build_audience(rng, works, panel), titles)
    texts = build_synopsis_table(rng, anime, synopses)
    _write_table(directory / ANIME_FILE, anime[listed])
    _write_table(directory / SYNOPSIS_FILE, texts[listed[texts.index]])
    lengths = draw_history_lengths(rng, n_users, n_ratings, audience.longest_history(len(works)))
    _write_ratings(directory / RATING_FILE, tastes, draw_picks(rng, tastes, lengths))


def _write_table(path: Path, table: pd.DataFrame) -> None:
    table.to_csv(path, index=False, lineterminator="\n")


def _write_ratings(path: Path, tastes: Tastes, chunks: Iterator[Picks]) -> None:
    schema = pa.schema([("user_id", pa.int64()), ("anime_id", pa.int64()), ("rating", pa.int8())])
    path.write_text(",".join(schema.names) + "\n", encoding="utf-8")
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none")
    with path.open("ab") as file, pyarrow.csv.CSVWriter(file, schema, write_options=options) as writer:
        for picks in chunks:
            columns = [picks.user + 1, tastes.works.item_ids[picks.position], picks.rating]
            writer.write_table(pa.table(columns, schema=schema))
