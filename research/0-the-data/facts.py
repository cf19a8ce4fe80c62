"""Numbers about a folder in the Kaggle 2020 layout, computed from the raw files, dirt included."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

UNKNOWN = "Unknown"
# A collection made of several samples gives each its own block of user ids.
BLOCK_SIZE = 100_000
PARTS = (0.01, 0.05, 0.1, 0.2, 0.5)
# What turns a title into a later one of the same franchise.
LATER_TITLE = re.compile(
    r"\b(\d+(st|nd|rd|th)? season|season \d+|movie.*|ova.*|specials?|the animation|tv|mini|ii+|iv|\d+)\b.*$"
)
FEWEST_RATINGS = 50


@dataclass(frozen=True)
class Raw:
    """The three files as they come: texts as text, nothing repaired."""

    anime: pd.DataFrame
    synopses: pd.DataFrame
    ratings: pd.DataFrame


def read_raw(directory: Path) -> Raw:
    """Read the three files; the misspelt headers are kept under one name here."""
    anime = pd.read_csv(directory / "anime.csv", dtype=str, keep_default_na=False).rename(columns={"Genders": "Genres"})
    anime.index = pd.Index(anime["MAL_ID"].astype(int), name="anime_id")
    synopses = pd.read_csv(directory / "anime_with_synopsis.csv", dtype=str, keep_default_na=False)
    ratings = pd.read_csv(directory / "rating_complete.csv")
    return Raw(anime, synopses.rename(columns={"sypnopsis": "synopsis"}), ratings)


def count_sizes(raw: Raw) -> dict[str, str]:
    """Count users, titles, ratings and how empty the matrix is."""
    users, titles = raw.ratings["user_id"].nunique(), raw.ratings["anime_id"].nunique()
    return {
        "titles in anime.csv": f"{len(raw.anime):,}",
        "titles with a row in anime_with_synopsis.csv": f"{len(raw.synopses):,}",
        "ratings": f"{len(raw.ratings):,}",
        "users": f"{users:,}",
        "titles rated at least once": f"{titles:,}",
        "share of all pairs of users and titles that are rated": f"{len(raw.ratings) / (users * titles):.2%}",
    }


def describe_blocks(raw: Raw) -> pd.DataFrame:
    """Describe each sample of users by itself, then all together."""
    rows = [_describe(name, part) for name, part in split_blocks(raw).items()]
    return pd.DataFrame([*rows, _describe("all", raw.ratings)])


def split_blocks(raw: Raw) -> dict[str, pd.DataFrame]:
    """Split the ratings by block of user ids, in the order of the ids."""
    first_ids = raw.ratings["user_id"] // BLOCK_SIZE * BLOCK_SIZE
    return {f"ids from {first_id}": part for first_id, part in raw.ratings.groupby(first_ids)}


def _describe(name: str, ratings: pd.DataFrame) -> dict[str, str]:
    users = ratings.groupby("user_id")["rating"].agg(["size", "mean"])
    return {
        "users": name,
        "number": f"{len(users):,}",
        "ratings": f"{len(ratings):,}",
        "titles": f"{ratings['anime_id'].nunique():,}",
        "median list": f"{users['size'].median():.0f}",
        "longest list": f"{users['size'].max():,}",
        "lists under 5": f"{(users['size'] < 5).mean():.1%}",
        "mean rating": f"{ratings['rating'].mean():.2f}",
        "mean of users' means": f"{users['mean'].mean():.2f}",
        "rated 7 or more": f"{(ratings['rating'] >= 7).mean():.1%}",
        "newest id": f"{ratings['anime_id'].max():,}",
    }


def measure_concentration(counts: pd.Series) -> dict[float, float]:
    """Return the share of all ratings that the most rated 1 %, 5 %, … of `counts` draw."""
    ordered = np.sort(counts.to_numpy())[::-1]
    return {part: float(ordered[: max(1, int(len(ordered) * part))].sum() / ordered.sum()) for part in PARTS}


def count_dirt(raw: Raw) -> pd.DataFrame:
    """Count what a reader has to deal with, by kind, with the rows it concerns."""
    ratings, anime, texts = raw.ratings, raw.anime, raw.synopses["synopsis"]
    users = ratings.groupby("user_id")["rating"].agg(["size", "nunique"])
    unlisted = ~ratings["anime_id"].isin(anime.index)
    kinds: list[tuple[str, int, int]] = [
        ("ratings of titles that anime.csv does not list", int(unlisted.sum()), len(ratings)),
        ("ratings outside 1..10", int((~ratings["rating"].between(1, 10)).sum()), len(ratings)),
        ("repeated pairs of person and title", int(ratings.duplicated(["user_id", "anime_id"]).sum()), len(ratings)),
        ("users with 5 ratings or more who give one mark only",
         int(((users["nunique"] == 1) & (users["size"] >= 5)).sum()), len(users)),
        ("users with more than 1,000 ratings", int((users["size"] > 1000).sum()), len(users)),
        ("names that occur twice", int(anime["Name"].duplicated().sum()), len(anime)),
        ("titles without a row in anime_with_synopsis.csv",
         int((~anime["MAL_ID"].isin(raw.synopses["MAL_ID"])).sum()), len(anime)),
        ("synopses that are a placeholder sentence",
         int(texts.str.startswith(("No synopsis information", "No synopsis has been")).sum()), len(texts)),
        ("synopses under 30 characters", int((texts.str.len() < 30).sum()), len(texts)),
    ]  # fmt: skip
    columns = ("Score", "Ranked", "English name", "Japanese name", "Genres", "Type", "Episodes", "Aired", "Studios",
               "Source", "Duration", "Rating")  # fmt: skip
    kinds += [(f'"{column}" is Unknown', int((anime[column] == UNKNOWN).sum()), len(anime)) for column in columns]
    table = pd.DataFrame(kinds, columns=["kind", "rows", "of"])
    return table.assign(share=(table["rows"] / table["of"]).map("{:.2%}".format))


def compare_genres(raw: Raw) -> pd.DataFrame:
    """Compare the share of titles that carry a genre with its share of the ratings, most frequent first."""
    genres = raw.anime["Genres"].str.get_dummies(", ").drop(columns=UNKNOWN, errors="ignore")
    counts = raw.ratings["anime_id"].value_counts().reindex(genres.index, fill_value=0)
    shares = pd.DataFrame({"titles": genres.mean(), "ratings": genres.mul(counts, axis=0).sum() / counts.sum()})
    return shares.sort_values("titles", ascending=False)


def measure_franchises(raw: Raw) -> dict[str, float]:
    """Measure how much more often two titles of one franchise are seen by the same users than chance would have it.

    A franchise is guessed from the title (what stands before a colon, season or "Movie"); titles with at least 50
    ratings count, each compared with the most rated one of its franchise.
    """
    viewers = raw.ratings.groupby("anime_id")["user_id"].agg(set)
    viewers = viewers[viewers.map(len).ge(FEWEST_RATINGS) & viewers.index.isin(raw.anime.index)]
    stems = raw.anime.loc[viewers.index, "Name"].map(stem)
    n_users = raw.ratings["user_id"].nunique()
    pairs = [
        (len(seen[0] & other) / len(other), len(seen[0]) / n_users)
        for _, group in viewers.groupby(stems)
        if len(seen := sorted(group, key=len, reverse=True)) > 1
        for other in seen[1:4]
    ]
    together, alone = np.array(pairs).mean(axis=0) if pairs else (np.nan, np.nan)
    return {"pairs": len(pairs), "seen with the other": float(together), "seen at all": float(alone)}


def stem(title: str) -> str:
    """Reduce a title to what its franchise shares."""
    return LATER_TITLE.sub("", title.split(":")[0].lower()).strip(" -!.(") or title.lower()
