"""From ratings to tables on which the two heads are trained, and the heads themselves.

The first-stage scores of a training user come from models that were not fitted on that user (`cross_fit`), and every
feature from the history, so the ranker never sees a label twice.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from recsys.data.catalog import Catalog
from recsys.data.interactions import POSITIVE_RATING, Interactions
from recsys.data.splits import hash_ids
from recsys.data.users import Users, build_users, find_favourite_genres, join_users, shorten_histories
from recsys.exceptions import RetrainError
from recsys.features.item_side import ItemSide
from recsys.features.pairs import Pairs
from recsys.features.ranking_features import compute_ranking_features
from recsys.features.schema import FeatureSchema
from recsys.memory import release_memory
from recsys.ranking.joined_head import train_joined_head
from recsys.ranking.params import Preset
from recsys.ranking.ranker import Ranker, TrainedHead, TrainingTable, compute_rating_offsets
from recsys.recommender.retriever import Retriever
from recsys.retrieval.first_stage import FirstStage
from recsys.types import Floats, Mask, Positions, RatingMatrix

N_FOLDS = 4
# Histories are also cut to these lengths for some users, so that the ranker learns to serve users who just arrived.
COLD_LENGTHS = (0, 1, 2, 5, 10)
COLD_SHARE = 4
STATED_GENRES = 3


def add_cold_start_users(users: Users, catalog: Catalog) -> Users:
    """Append every fourth user again with a history cut to 0, 1, 2, 5 or 10 ratings.

    Half of those left without a history state the three genres that their whole history holds most above the
    catalog's mean.
    """
    picked = np.flatnonzero(hash_ids(users.user_ids, salt=4) % np.uint64(COLD_SHARE) == 0)
    lengths = np.array(COLD_LENGTHS)[
        (hash_ids(users.user_ids[picked], salt=5) % np.uint64(len(COLD_LENGTHS))).astype(int)
    ]
    cold = users.select(picked)
    tastes = find_favourite_genres(cold.history, catalog, STATED_GENRES)
    silent = hash_ids(cold.user_ids, salt=6) % np.uint64(2) == 0
    tastes[(lengths > 0) | silent] = 0.0
    cut = replace(cold, history=shorten_histories(cold, lengths), tastes=tastes)
    return join_users(users, cut)


@dataclass(frozen=True)
class HeadTables:
    """Rows for both heads under one schema."""

    schema: FeatureSchema
    relevance: TrainingTable
    rating: TrainingTable

    def keep_groups(self, groups: Sequence[str]) -> "HeadTables":
        """Return the same rows with the features of some groups only; copies what is kept."""
        schema, places = self.schema.select(groups)

        def narrow(table: TrainingTable) -> TrainingTable:
            return replace(table, features=table.features[:, places])

        return HeadTables(schema, narrow(self.relevance), narrow(self.rating))


def build_training_users(interactions: Interactions, catalog: Catalog, n_splits: int) -> Users:
    """Use every training user several times, with other ratings hidden each time, and some as new users."""
    users = add_cold_start_users(build_users(interactions, catalog), catalog)
    return join_users(users, *(build_users(interactions, catalog, variant=split) for split in range(1, n_splits)))


def find_rated(ratings: RatingMatrix) -> Mask:
    """Tell which titles anybody has rated, `(n_items,)`; ratings CSR `(n_users, n_items)`."""
    return np.asarray(np.bincount(ratings.indices, minlength=ratings.shape[1]) > 0)


def build_tables(
    parts: Iterable[tuple[Retriever, Users, Mask]],
    groups: Sequence[str],
    *,
    negative_share: float = 1.0,
    n_threads: int = 1,
) -> HeadTables:
    """Featurise candidates with labels, and rated targets with ratings.

    Titles that the retriever knows no rating of are no candidates here: hardly anyone could have liked them, and trees
    that are trained on such rows put every new title last.

    Parameters
    ----------
    parts
        Users together with a retriever that was not fitted on them, and which titles it knows ratings of, `(n_items,)`.
    negative_share
        Share 0..1 of the candidates without a liked target that are kept.
    n_threads
        Batches of users that are featurised at once; the rows do not depend on it.
    """
    schema = None
    ranked: list[tuple[npt.NDArray[Any], ...]] = []
    rated: list[tuple[npt.NDArray[Any], ...]] = []
    with ThreadPoolExecutor(n_threads) as pool:
        for retriever, users, rated_titles in parts:
            describe = partial(_describe, retriever, rated_titles, groups=groups, negative_share=negative_share)
            for described in pool.map(describe, users.batches()):
                schema, relevance, rating = described
                ranked.append(relevance)
                rated.append(rating)
    if schema is None:
        raise RetrainError("there are too few users to train and validate on; ingest more, or let more arrive")
    features, labels, sizes = _join_columns(ranked)
    rating_features, ratings = _join_columns(rated)
    return HeadTables(schema, TrainingTable(features, labels, sizes), TrainingTable(rating_features, ratings))


# Rows that are joined before the memory of the parts they came in is given back.
_RELEASED: Final = 200_000


def _join_columns(parts: list[tuple[npt.NDArray[Any], ...]]) -> list[npt.NDArray[Any]]:
    """Put the arrays of all parts one below the other and empty the list, so that no row is held twice."""
    lengths = np.array([[len(array) for array in part] for part in parts])
    columns = [
        np.empty((total, *array.shape[1:]), np.result_type(*(part[number] for part in parts)), _get_order(array))
        for number, (total, array) in enumerate(zip(lengths.sum(axis=0), parts[0], strict=True))
    ]
    ends, released = lengths.cumsum(axis=0), 0
    for number in range(len(parts)):
        for column, end, array in zip(columns, ends[number], parts[number], strict=True):
            column[end - len(array) : end] = array
        parts[number] = ()
        if ends[number].max() - released > _RELEASED:
            release_memory()
            released = ends[number].max()
    parts.clear()
    return columns


def _get_order(array: npt.NDArray[Any]) -> Literal["C", "F"]:
    return "F" if array.flags.f_contiguous else "C"


def _describe(
    retriever: Retriever, rated: Mask, batch: Users, *, groups: Sequence[str], negative_share: float
) -> tuple[FeatureSchema, tuple[Floats, Floats, Positions], tuple[Floats, Floats]]:
    """Featurise a batch: features, labels and list lengths of candidates; features and ratings of rated targets."""
    retrieved = retriever.retrieve(batch.history, batch.tastes, allowed=rated)
    pairs, labels = _choose(retrieved, batch, negative_share)
    schema, features = compute_ranking_features(pairs, groups)
    return schema, (features, labels, pairs.counts[pairs.counts > 0]), _rate(retrieved, batch.targets, groups)


def _choose(pairs: Pairs, users: Users, negative_share: float) -> tuple[Pairs, Floats]:
    """Label candidates 1 where they are liked targets, and keep some of the others, picked by a hash.

    Users without a liked target among the candidates lose them all: their rows have no order to learn.
    """
    values = np.asarray(users.targets[pairs.rows, pairs.columns]).ravel()
    liked = values >= POSITIVE_RATING
    has_liked = np.bincount(pairs.rows, weights=liked, minlength=len(pairs.candidates)) > 0
    places = hash_ids(users.user_ids[pairs.rows], pairs.columns, salt=9).astype(np.float64) / 2.0**64
    kept = has_liked[pairs.rows] & (liked | (places < negative_share))
    counts = np.bincount(pairs.rows[kept], minlength=len(pairs.candidates))
    candidates = np.split(pairs.columns[kept], np.cumsum(counts)[:-1])
    return replace(pairs, candidates=candidates), liked[kept].astype(np.float32)


def _rate(pairs: Pairs, targets: RatingMatrix, groups: Sequence[str]) -> tuple[Floats, Floats]:
    """Describe the rated targets themselves."""
    ratings = targets.tocsr()
    candidates = np.split(ratings.indices.astype(np.intp), ratings.indptr[1:-1])
    _, features = compute_ranking_features(replace(pairs, candidates=candidates), groups)
    return features, ratings.data.astype(np.float32)


@dataclass(frozen=True)
class TrainedRanker:
    """A ranker and the training history of its heads."""

    ranker: Ranker
    heads: dict[str, TrainedHead]
    n_rows: dict[str, int]


def train_ranker(
    train: HeadTables,
    validation: HeadTables,
    preset: Preset,
    *,
    seed: int,
    n_threads: int,
    on_progress: Callable[[str, int, int], None] = lambda _head, _done, _total: None,
) -> TrainedRanker:
    """Train both heads of a preset."""
    validation.schema.check(train.schema.names)
    tables = {"relevance": (train.relevance, validation.relevance)}
    tables["rating"] = (subtract_offsets(train), subtract_offsets(validation))
    members = {"relevance": preset.list_members(), "rating": (preset.rating,)}
    heads = {
        name: train_joined_head(
            members[name],
            train.schema,
            *tables[name],
            seed=seed,
            n_threads=n_threads,
            on_iteration=partial(on_progress, name),
        )
        for name in tables
    }
    ranker = Ranker(train.schema, heads["relevance"].booster, heads["rating"].booster)
    return TrainedRanker(ranker, heads, {name: len(getattr(train, name).labels) for name in heads})


def subtract_offsets(tables: HeadTables) -> TrainingTable:
    """Return the rows of the rating head with labels as the distance from what the head adds its trees to."""
    offsets = compute_rating_offsets(tables.schema, tables.rating.features)
    return TrainingTable(tables.rating.features, tables.rating.labels - offsets)


def swap_item_vectors(items: ItemSide, first_stage: FirstStage) -> ItemSide:
    """Return the item side with the item vectors of another first stage, as cross-fitting needs."""
    return replace(items, lightfm_vectors=np.asarray(first_stage.item_vectors, dtype=np.float32))
