"""The training table of the original My Otaku Friend as pandas builds it, in a process of its own.

    python benchmarks/parts/original_table.py DATA [--limit-gib N] [--threads N]

Every rating is joined to 45 features of its user and 448 of its title, and LightGBM bins the 493 columns. Each stage is
printed as JSON when it has ended, so that a process that runs out of memory has said how far it came.
"""

import argparse
import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd

from recsys.columns import Columns
from recsys.data.catalog import Catalog
from recsys.data.interactions import Interactions
from recsys.data.preferences import compute_preferences
from recsys.data.sources.reading import read_source
from recsys.usage import measure_usage

N_GENRES, N_LIGHTFM, N_TEXT = 44, 64, 384


@contextmanager
def say(stage: str) -> Iterator[None]:
    """Measure a stage and print what it took."""
    with measure_usage() as usage:
        yield
    print(json.dumps({"stage": stage, **asdict(usage)}), flush=True)


def main() -> None:
    """Build the table and bin it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--limit-gib", type=float, help="memory that the process may address")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if options.limit_gib:
        limit = int(options.limit_gib * (1 << 30))
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    source = read_source(options.data)
    catalog, ratings = Catalog(source.items), Interactions(source.ratings).table
    preferences = compute_preferences(Interactions(ratings), catalog).drop(columns="n_ratings")
    users = preferences.iloc[:, : 2 + N_GENRES]
    vectors = np.random.default_rng(0).normal(size=(len(catalog), N_LIGHTFM + N_TEXT))
    titles = pd.DataFrame(vectors, columns=[f"vector_{place}" for place in range(vectors.shape[1])])
    titles.insert(0, Columns.Item, catalog.item_ids)
    with say("join users"):
        table = ratings.merge(users, on=Columns.User)
    with say("join titles"):
        table = table.merge(titles, on=Columns.Item)
    with say("bin columns"):
        features = table.drop(columns=Columns.Interactions)
        dataset = lgb.Dataset(features, table[Columns.Rating], params={"num_threads": options.threads, "verbose": -1})
        dataset.construct()


if __name__ == "__main__":
    main()
