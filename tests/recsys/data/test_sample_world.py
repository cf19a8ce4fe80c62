"""The sample world looks like MyAnimeList, can be learned, and is written all at once or not at all."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from recsys.data.sample_world import write_sample_world
from recsys.data.sample_world.tastes import draw_history_lengths
from recsys.exceptions import ConfigurationError

HEADER = """
MAL_ID,Name,Score,Genders,English name,Japanese name,Type,Episodes,Aired,Premiered,Producers,Licensors,Studios,Source,\
Duration,Rating,Ranked,Popularity,Members,Favorites,Watching,Completed,On-Hold,Dropped,Plan to Watch,\
Score-10,Score-9,Score-8,Score-7,Score-6,Score-5,Score-4,Score-3,Score-2,Score-1
""".strip()
FILES = ("anime.csv", "anime_with_synopsis.csv", "rating_complete.csv")
TINY = {"n_users": 12, "n_items": 40, "n_ratings": 150}

# Measured on 737,357 real ratings by 6,473 users and on the catalog of 17,562 titles.
REAL_MEAN_RATING = 7.63
REAL_RATING_SHARES = [0.006, 0.007, 0.012, 0.024, 0.055, 0.108, 0.217, 0.248, 0.180, 0.144]
REAL_KNOWN_SHARES = {"English name": 0.398, "Studios": 0.597, "Producers": 0.556, "Licensors": 0.225, "Score": 0.707}
REAL_TYPE_SHARES = {"TV": 0.284, "OVA": 0.222, "Movie": 0.173, "Special": 0.126, "ONA": 0.109, "Music": 0.084}
REAL_GENRE_SHARES = {"Comedy": 0.343, "Action": 0.221, "Fantasy": 0.187, "Kids": 0.152, "Romance": 0.108}
# History length at 10 %, 50 %, 90 % of the users, divided by the mean.
REAL_LENGTH_QUANTILES = [0.044, 0.562, 2.41]


class World:
    """A written sample world, read back as text where text matters."""

    def __init__(self, directory: Path) -> None:
        self.anime = pd.read_csv(directory / "anime.csv", dtype=str, keep_default_na=False)
        self.synopses = pd.read_csv(directory / "anime_with_synopsis.csv", dtype=str, keep_default_na=False)
        self.ratings = pd.read_csv(directory / "rating_complete.csv")
        self.anime.index = pd.Index(self.anime["MAL_ID"].astype(int))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    directory = tmp_path_factory.mktemp("world") / "sample"
    write_sample_world(directory, n_users=600, n_items=800, n_ratings=40_000, seed=1)
    return World(directory)


def test_files_have_the_layout_and_the_sizes_asked_for(world: World) -> None:
    assert ",".join(world.anime.columns) == HEADER
    assert list(world.synopses.columns) == ["MAL_ID", "Name", "Score", "Genders", "sypnopsis"]
    assert list(world.ratings.columns) == ["user_id", "anime_id", "rating"]
    assert (len(world.anime), len(world.ratings), world.ratings["user_id"].nunique()) == (800, 40_000, 600)
    assert world.anime.index.is_unique
    assert world.anime.index.is_monotonic_increasing
    assert not world.ratings.duplicated(["user_id", "anime_id"]).any()
    assert world.ratings["rating"].between(1, 10).all()


def test_ratings_are_marked_as_on_the_site(world: World) -> None:
    shares = world.ratings["rating"].value_counts(normalize=True).reindex(range(1, 11), fill_value=0)
    assert world.ratings["rating"].mean() == pytest.approx(REAL_MEAN_RATING, abs=0.15)
    assert np.abs(shares.to_numpy() - REAL_RATING_SHARES).max() < 0.04


def test_users_differ_in_level_and_in_width(world: World) -> None:
    users = world.ratings.groupby("user_id")["rating"].agg(["mean", "std", "size"])
    # Real: mean 8.08, between users 0.99, within users 1.30, correlation with log length -0.43.
    assert users["mean"].std() == pytest.approx(0.99, abs=0.2)
    assert users["std"].mean() == pytest.approx(1.30, abs=0.2)
    assert users["std"].std() > 0.3
    assert np.corrcoef(np.log(users["size"]), users["mean"])[0, 1] == pytest.approx(-0.43, abs=0.2)


def test_history_lengths_have_the_real_long_tail() -> None:
    lengths = draw_history_lengths(np.random.default_rng(0), 5_000, 570_000, 14_000)
    assert lengths.sum() == 570_000
    assert lengths.min() == 1
    quantiles = np.quantile(lengths, [0.1, 0.5, 0.9]) / lengths.mean()
    np.testing.assert_allclose(quantiles, REAL_LENGTH_QUANTILES, rtol=0.2)
    assert lengths.max() > 10 * lengths.mean()


def test_few_titles_draw_most_ratings(tmp_path: Path) -> None:
    write_sample_world(tmp_path / "sparse", n_users=1_500, n_items=4_000, n_ratings=60_000, seed=3)
    ratings = pd.read_csv(tmp_path / "sparse" / "rating_complete.csv")
    counts = ratings["anime_id"].value_counts().to_numpy()
    shares = [counts[: int(len(counts) * part)].sum() / len(ratings) for part in (0.01, 0.1, 0.5)]
    # Real: the first 1 %, 10 %, 50 % of 14,683 rated titles draw 25 %, 75 %, 98 %; fewer titles, shorter tail.
    np.testing.assert_allclose(shares, [0.25, 0.75, 0.98], atol=0.15)


def test_catalog_has_the_real_shares(world: World) -> None:
    for column, share in REAL_KNOWN_SHARES.items():
        assert (world.anime[column] != "Unknown").mean() == pytest.approx(share, abs=0.08), column
    for kind, share in REAL_TYPE_SHARES.items():
        assert (world.anime["Type"] == kind).mean() == pytest.approx(share, abs=0.05), kind
    genres = world.anime["Genders"].str.split(", ").explode()
    for genre, share in REAL_GENRE_SHARES.items():
        assert (genres == genre).sum() / 800 == pytest.approx(share, abs=0.06), genre
    years = world.anime["Aired"].str.extract(r"(\d{4})")[0].dropna().astype(int)
    assert years.between(1960, 2020).all()
    assert (years >= 2010).mean() > (years.between(2000, 2009)).mean() > (years.between(1990, 1999)).mean()


def test_all_43_genres_occur(tmp_path: Path) -> None:
    write_sample_world(tmp_path / "w", n_users=50, n_items=5_000, n_ratings=500, seed=0)
    genres = World(tmp_path / "w").anime["Genders"].str.split(", ").explode().unique()
    assert len(set(genres) - {"Unknown"}) == 43


def test_site_counts_agree_with_the_ratings(world: World) -> None:
    rated = world.ratings.groupby("anime_id")["rating"].agg(["mean", "size"]).join(world.anime, how="inner")
    often = rated[(rated["size"] >= 20) & (rated["Score"] != "Unknown")]
    assert np.corrcoef(often["mean"], often["Score"].astype(float))[0, 1] > 0.8  # real: 0.94
    assert rated["size"].corr(rated["Members"].astype(int), method="spearman") > 0.8  # real: 0.92
    statuses = world.anime[["Watching", "Completed", "On-Hold", "Dropped", "Plan to Watch"]].astype(int)
    assert (statuses.sum(axis=1) == world.anime["Members"].astype(int)).all()
    assert (statuses >= 0).all(axis=None)


def test_score_is_the_mean_of_the_marks(world: World) -> None:
    marks = pd.DataFrame({k: pd.to_numeric(world.anime[f"Score-{k}"], errors="coerce") for k in range(1, 11)}).fillna(0)
    scored = world.anime["Score"] != "Unknown"
    means = (marks * range(1, 11)).sum(axis=1) / marks.sum(axis=1)
    np.testing.assert_allclose(means[scored], world.anime["Score"][scored].astype(float), atol=0.0051)


def test_dirt_is_there(world: World) -> None:
    unlisted = ~world.ratings["anime_id"].isin(world.anime.index)
    assert 0.004 < unlisted.mean() < 0.012  # real: 0.0082
    texts = world.synopses["sypnopsis"]
    assert 0.02 < texts.str.startswith("No synopsis").mean() < 0.08  # real: 0.046
    assert not world.synopses["Genders"].str.contains("Hentai").any()
    assert (world.anime.loc[world.anime["Genders"].str.contains("Hentai"), "Ranked"] == "Unknown").all()


def test_titles_are_different_and_japanese_ones_are_in_japanese(world: World) -> None:
    assert world.anime["Name"].is_unique
    japanese = world.anime["Japanese name"][world.anime["Japanese name"] != "Unknown"]
    assert japanese.str.contains("[\u3040-\u30ff\u4e00-\u9fff]").all()
    assert world.anime["Name"].map(str.isascii).all()


def test_a_franchise_is_watched_together(world: World) -> None:
    seasons = world.anime[world.anime["Name"].str.endswith(" 2nd Season")]
    first = world.anime.reset_index(drop=True).set_index("Name")["MAL_ID"].astype(int)
    viewers = world.ratings.groupby("anime_id")["user_id"].agg(set)
    both, alone = [], []
    for later, name in seasons["Name"].items():
        earlier = first.get(name.removesuffix(" 2nd Season"))
        if earlier in viewers.index and later in viewers.index and len(viewers[later]) >= 20:
            both.append(len(viewers[earlier] & viewers[later]) / len(viewers[later]))
            alone.append(len(viewers[earlier]) / 600)
    assert len(both) >= 5
    assert np.mean(both) > 0.7  # real: 0.91
    assert np.mean(both) > 1.8 * np.mean(alone)


def test_neighbours_beat_popularity(world: World) -> None:
    """EASE (Steck, 2019) on held-out users; real: 0.50 against 0.15, small dense worlds leave less room."""
    liked = world.ratings[(world.ratings["rating"] >= 7) & world.ratings["anime_id"].isin(world.anime.index)]
    matrix = np.zeros((601, 800), dtype=np.float32)
    matrix[liked["user_id"], np.searchsorted(world.anime.index, liked["anime_id"])] = 1
    train, test = matrix[1:451], matrix[451:]
    target = (np.random.default_rng(0).random(test.shape) < 0.2) * test
    history = test - target
    gram = train.T @ train + 100 * np.eye(800, dtype=np.float32)
    inverse = np.linalg.inv(gram)
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    popularity = np.tile(train.sum(axis=0), (len(test), 1))
    assert _ndcg(history @ weights, history, target) > 1.3 * _ndcg(popularity, history, target) > 0.05


def _ndcg(scores: npt.NDArray[np.float32], history: npt.NDArray[np.float32], target: npt.NDArray[np.float32]) -> float:
    best = np.argsort(-np.where(history > 0, -np.inf, scores), axis=1, kind="stable")[:, :10]
    discount = 1 / np.log2(np.arange(2, 12))
    gain = (np.take_along_axis(target, best, axis=1) * discount).sum(axis=1)
    ideal = np.array([discount[: int(n)].sum() for n in np.minimum(target.sum(axis=1), 10)])
    return float((gain[ideal > 0] / ideal[ideal > 0]).mean())


def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        write_sample_world(tmp_path / name, **TINY, seed=seed)
    for file in FILES:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
        assert (tmp_path / "a" / file).read_bytes() != (tmp_path / "c" / file).read_bytes()


def test_bytes_do_not_depend_on_threads(tmp_path: Path) -> None:
    for threads in ("1", "2"):
        _start(tmp_path / threads, {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}, **TINY).wait()
    for file in FILES:
        assert (tmp_path / "1" / file).read_bytes() == (tmp_path / "2" / file).read_bytes()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"n_users": 0}, "n_users is 0"),
        ({"n_items": 19}, "n_items is 19"),
        ({"n_ratings": 11}, "n_ratings is 11"),
        ({"n_ratings": 241}, "at most half of all pairs, 240"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_impossible_sizes_are_refused(tmp_path: Path, sizes: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        write_sample_world(tmp_path / "w", **{**TINY, "seed": 0, **sizes})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("n_users", "n_items", "n_ratings"), [(1, 20, 1), (1, 20, 10), (300, 20, 3_000), (7, 900, 7), (3, 2_000, 3_000)]
)
def test_extreme_sizes_are_met_exactly(tmp_path: Path, n_users: int, n_items: int, n_ratings: int) -> None:
    write_sample_world(tmp_path / "w", n_users=n_users, n_items=n_items, n_ratings=n_ratings, seed=0)
    world = World(tmp_path / "w")
    assert (len(world.anime), len(world.ratings)) == (n_items, n_ratings)
    assert world.ratings["user_id"].nunique() == n_users
    assert not world.ratings.duplicated(["user_id", "anime_id"]).any()


def test_an_earlier_world_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    write_sample_world(tmp_path / "w", **TINY, seed=1)
    before = (tmp_path / "w" / "anime.csv").read_bytes()
    write_sample_world(tmp_path / "w", **TINY, seed=2)
    assert (tmp_path / "w" / "anime.csv").read_bytes() != before
    assert [path.name for path in tmp_path.iterdir()] == ["w"]
    (tmp_path / "w" / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigurationError, match=r"thesis\.txt"):
        write_sample_world(tmp_path / "w", **TINY, seed=3)
    assert (tmp_path / "w" / "thesis.txt").read_text() == "years of work"
    with pytest.raises(ConfigurationError, match="is a file"):
        write_sample_world(tmp_path / "w" / "thesis.txt", **TINY, seed=3)


def test_a_kill_leaves_nothing_half_written(tmp_path: Path) -> None:
    process = _start(tmp_path / "w", {}, n_users=20_000, n_items=3_000, n_ratings=1_000_000)
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob(".w.partial-*/rating_complete.csv")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "w").exists()
    write_sample_world(tmp_path / "w", **TINY, seed=0)
    assert sorted(path.name for path in (tmp_path / "w").iterdir()) == sorted(FILES)


def _start(
    directory: Path, environment: dict[str, str], *, n_users: int, n_items: int, n_ratings: int
) -> subprocess.Popen[bytes]:
    sizes = f"n_users={n_users}, n_items={n_items}, n_ratings={n_ratings}, seed=0"
    code = (
        "from pathlib import Path; from recsys.data.sample_world import write_sample_world;"
        f"write_sample_world(Path({str(directory)!r}), {sizes})"
    )
    return subprocess.Popen([sys.executable, "-c", code], env={**os.environ, **environment})
