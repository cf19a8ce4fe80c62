"""Latency and throughput of the service, measured alternately with the original My Otaku Friend.

    python benchmarks/serving.py [--quick] [--model FOLDER] [--output FILE.json]

Everything runs on one thread. The forest of the original's shape is trained for a while and its trees are repeated; the
default model is trained on an invented world, or read from a folder. Exits with 1 if a target is missed.

Forests are compared by the time of the processor, since a call of some milliseconds and one of a hundred do not suffer
alike from whatever else runs. LightGBM and ours read the same float32 table, each in the order in which it is fastest,
so that neither copies it: LightGBM row after row, ours feature after feature, as the features are computed.
Ours is measured twice: with nothing encoded before, and as a service would use it over a whole catalog, with the
features that are equal for a title in every request encoded before.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import lightgbm as lgb
import numpy as np
import pandas as pd
from parts.clients import build_request, run_clients
from parts.known_users import fill_database
from parts.measuring import measure, measure_in_turn, read_memory, release_memory
from parts.original import Original, build_original
from parts.reporting import PREPARED, Results, check_targets, show
from parts.service import run_service
from parts.worlds import SeedForest, Shape, World, choose_users, train_default_model, train_seed_forest
from rich.console import Console
from threadpoolctl import threadpool_limits

from app.models.serving import ServingModel
from otaku.platform import postgres
from otaku.platform.local import LocalPlatform
from recsys.columns import Columns, ItemColumns
from recsys.ranking.forest import Forest
from recsys.recommender import Recommender, UserProfile
from recsys.settings import Settings

N_USERS = 200


@dataclass(frozen=True)
class Size:
    """How much of everything: the whole benchmark, or a quick one that only shows that it runs."""

    shape: Shape = field(default_factory=Shape)
    n_items: int = 14_353
    n_users: int = 1_500
    n_ratings: int = 150_000
    n_trees: int = 190  # of which the best are kept, about as many as a model of real ratings has
    n_learners: int = 1_100
    seconds: float = 4.0
    clients: tuple[int, ...] = (1, 8, 32)


QUICK = Size(Shape(600, 50, 1_500, 8, 4, 31), 300, 80, 2_000, 10, 40, 0.1, (1, 4))


def compare_forests(name: str, booster: Any, table: Any, fixed: list[int], seconds: float) -> Results:
    """Score a whole catalog for one user: LightGBM, and the forest without and with the titles encoded before."""
    table, by_feature = np.ascontiguousarray(table), np.asfortranarray(table)
    forest = Forest.from_booster(booster, fixed)
    titles = forest.encode_fixed(table)
    fresh = by_feature[:1] if len(fixed) and _is_shared(table, fixed) else by_feature
    ways: dict[str, Callable[[], Any]] = {
        "LightGBM": lambda: booster.predict(table, raw_score=True, num_threads=1),
        "ours": lambda: forest.score(by_feature),
        PREPARED: lambda: forest.score_codes(forest.encode(fresh, titles)),
    }
    expected, *others = (way() for way in ways.values())
    found = measure_in_turn({way: [call] for way, call in ways.items()}, seconds=seconds, clock=time.thread_time)
    return {
        "what": name,
        "n_rows": len(table),
        "n_trees": len(forest.roots),
        "n_features": booster.num_feature(),
        "largest_difference": max(float(np.abs(scores - expected).max()) for scores in others),
        "times_faster": {way: found["LightGBM"].p50 / latency.p50 for way, latency in found.items()},
        "ways": {way: latency.to_dict() for way, latency in found.items()},
    }


def _is_shared(table: Any, fixed: list[int]) -> bool:
    """Return whether all rows agree in all features that are not those of the titles."""
    others = np.delete(table, fixed, axis=1)
    return bool(np.array_equal(others, np.broadcast_to(others[:1], others.shape), equal_nan=True))


def benchmark_forests(seed: SeedForest, world: World, known_users: list[UserProfile], size: Size) -> list[Results]:
    """Score whole catalogs with both models."""
    table = np.repeat(seed.users[:1], len(seed.titles), axis=0)
    seed_table = np.hstack([table, seed.titles])
    n_user = seed.users.shape[1]
    recommender = world.recommender
    tables = [describe_catalog(recommender, user) for user in known_users[:2]]
    same = [
        np.array_equal(tables[0][:, column], tables[1][:, column], equal_nan=True)
        for column in range(tables[0].shape[1])
    ]
    fixed = np.flatnonzero(same).tolist()
    return [
        compare_forests(
            "the original's shape", seed.booster, seed_table, list(range(n_user, seed_table.shape[1])), 3 * size.seconds
        ),
        compare_forests("default model", recommender.ranker.relevance, tables[0], fixed, size.seconds),
    ]


def describe_catalog(recommender: Recommender, user: UserProfile) -> Any:
    """Compute the ranking features of all titles for a user."""
    catalog = recommender.catalog
    history, tastes = user.to_history(catalog), user.to_tastes(catalog)
    return recommender.featurise(recommender.retriever.describe(history, tastes, [np.arange(len(catalog))]))


def benchmark_answers(
    original: Original, model: ServingModel, known_users: dict[int, UserProfile], size: Size
) -> Results:
    """Answer in process, the original's way and ours, in turn."""
    recommender, titles = model.recommender, model.recommender.catalog.items[ItemColumns.Title].tolist()
    frames = {
        user_id: pd.DataFrame({"anime_id": recommender.catalog.positions(user.item_ids), "rating": user.ratings})
        for user_id, user in known_users.items()
    }
    rng = np.random.default_rng(1)
    chosen = [str(title) for title in rng.choice(titles, 50, replace=False) if len(title) > 4]
    typos = [misspell(title, rng) for title in chosen]
    ids = [int(item_id) for item_id in rng.choice(recommender.catalog.item_ids, 50, replace=False)]
    prefixes = [title[: int(rng.integers(2, 6))] for title in chosen]
    tasks: dict[str, dict[str, list[Any]]] = {
        "existing user": {
            "original": [lambda u=u: original.recommend(u, frames[u]) for u in known_users],
            "ours": [lambda p=p: recommender.recommend(p) for p in known_users.values()],
        },
        "similar title": {
            "original": [lambda place=place: original.find_similar(place) for place in range(50)],
            "ours": [lambda i=i: recommender.similar_items(i) for i in ids],
        },
        "title with a typo": {
            "original": [lambda t=t: original.find_title(t) for t in typos],
            "ours": [partial(resolve, model, typo) for typo in typos],
        },
    }
    found: Results = {
        name: {way: latency.to_dict() for way, latency in measure_in_turn(ways, seconds=2 * size.seconds).items()}
        for name, ways in tasks.items()
    }
    complete = measure([partial(model.titles.search, prefix) for prefix in prefixes], seconds=size.seconds)
    found["autocomplete"] = {"ours": complete.to_dict()}
    return found


def resolve(model: ServingModel, title: str) -> None:
    """Resolve a title; no match is a result too."""
    try:
        model.titles.resolve(title)
    except LookupError:
        return


def misspell(title: str, rng: np.random.Generator) -> str:
    """Exchange two neighbouring letters."""
    place = int(rng.integers(1, len(title) - 2))
    return title[:place] + title[place + 1] + title[place] + title[place + 2 :]


def benchmark_http(
    folder: Path, recommender: Recommender, known_users: dict[int, UserProfile], size: Size, home: Path
) -> Results:
    """Measure the service over HTTP: one worker, one work thread, a real PostgreSQL, no cache unless named."""
    titles = recommender.catalog.items[ItemColumns.Title].tolist()
    requests = {
        "existing user": [build_request("/recommend/", {"user_input": user_id}) for user_id in known_users],
        "new user": [build_request("/recommend/", {"user_preferences": {}})],
        "similar title": [
            build_request("/recommend/", {"user_input": title, "adult": True}) for title in titles[:: len(titles) // 50]
        ],
        "autocomplete": [build_request(f"/search?q={letters}") for letters in ("na", "one", "sw", "the", "ko")],
    }
    results: Results = {}
    # From defaults alone: a database that the environment names is not written to.
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    given = Settings.model_construct(**defaults | {"home": home})
    with LocalPlatform(given, durable=False, parts=(postgres.PART,)) as platform:
        url = platform.settings().require_database_url()
        fill_database(url, recommender, known_users)
        with run_service(folder, url, home) as service:
            results["seconds_to_ready"] = service.seconds_to_ready
            for name, asked in requests.items():
                run_clients(service.port, asked, n_clients=1, seconds=size.seconds / 4)
                loads = [
                    run_clients(service.port, asked, n_clients=n_clients, seconds=size.seconds)
                    for n_clients in size.clients
                ]
                results[name] = [asdict(load) for load in loads]
            results["memory_mib"] = read_memory(service.pid)
        with run_service(folder, url, home, cache_seconds=300) as service:
            asked = requests["existing user"]
            run_clients(service.port, asked, n_clients=1, seconds=size.seconds)  # fills the cache
            loads = [run_clients(service.port, asked, n_clients=n, seconds=size.seconds) for n in size.clients]
            results["existing user, cached"] = [asdict(load) for load in loads]
    return results


def report(stage: str) -> None:
    """Print the current stage."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {stage}\n")


def run(size: Size, folder: Path, stored: Path | None) -> Results:
    """Train or load what is needed and measure everything."""
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    report("training a forest of the original's shape")
    seed = train_seed_forest(size.shape, rng)
    report("training the default model")
    sizes = {name: getattr(size, name) for name in ("n_items", "n_users", "n_ratings", "n_trees", "n_learners")}
    world = train_default_model(folder / "world", **sizes)
    if stored is not None:
        world = World(Recommender.load(stored), world.ratings)
    world.recommender.save(folder / "model")
    seconds = time.perf_counter() - start
    report("scoring whole catalogs")
    known = world.ratings[world.recommender.catalog.contains(world.ratings[Columns.Item])]
    histories = {
        cast("int", user_id): UserProfile(
            rows[Columns.Item].to_numpy(), rows[Columns.Rating].to_numpy(dtype=np.float32)
        )
        for user_id, rows in known[known[Columns.User].isin(choose_users(known, N_USERS, rng))].groupby(Columns.User)
    }
    forests = benchmark_forests(seed, world, list(histories.values()), size)
    report("answering in process and over HTTP")
    release_memory()
    before = read_memory()
    original = build_own_original(seed, histories, world.recommender.catalog.items[ItemColumns.Title].tolist())
    memory = read_memory() - before
    model = ServingModel.build(world.recommender.accelerate(), name="benchmark", version=1, run_id="benchmark")
    return {
        "sizes": asdict(size),
        "seconds_to_train": seconds,
        "forests": forests,
        "original_memory_mib": memory,
        "answers": benchmark_answers(original, model, histories, size),
        "http": benchmark_http(folder / "model", world.recommender, histories, size, folder),
    }


def build_own_original(seed: SeedForest, known_users: dict[int, UserProfile], names: list[str]) -> Original:
    """Put the original's tables together, with a fresh copy of its forest; its titles are known by their places."""
    places = np.arange(len(known_users)) % len(seed.users)
    features = pd.DataFrame(seed.users[places], columns=[f"user_{number}" for number in range(seed.users.shape[1])])
    users = pd.concat([pd.DataFrame({"user_id": list(known_users)}), features], axis=1)
    titles = pd.DataFrame({"anime_id": np.arange(len(seed.titles))})
    titles["name"] = [names[place % len(names)] for place in titles["anime_id"]]
    booster = lgb.Booster(model_str=seed.booster.model_to_string())
    return build_original(titles, seed.titles, users, booster)


def main() -> int:
    """Run, print and check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, targets not checked: shows that it runs")
    parser.add_argument("--model", type=Path, help="a stored model version instead of one trained here")
    parser.add_argument("--output", type=Path, help="write all results as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="otaku-bench-") as folder, threadpool_limits(1):
        results = run(QUICK if options.quick else Size(), Path(folder), options.model)
    targets = check_targets(results)
    results["targets"] = [asdict(target) for target in targets]
    show(results, targets, Console(width=120))
    if options.output:
        options.output.write_text(json.dumps(results, indent=1))
    return 0 if options.quick or all(target.is_met for target in targets) else 1


if __name__ == "__main__":
    sys.exit(main())
