"""The first stage by sums over partitions: the models of one machine, and the same bytes whoever computes what."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client, LocalCluster

from recsys.data.splits import TRAIN, assign_folds, select_group
from recsys.distributed import als, fitting, partitions, sums
from recsys.distributed.als import fit_als
from recsys.distributed.fitting import cross_fit_on_cluster
from recsys.distributed.partitions import Partitions, write_partitions
from recsys.exceptions import ConfigurationError
from recsys.recommender.training import N_FOLDS
from recsys.retrieval.base import CandidateGenerator
from recsys.retrieval.ease_mixture import EaseMixture
from recsys.retrieval.embedding import Als, LightFm, fold_in
from recsys.retrieval.first_stage import FirstStage, cross_fit
from recsys.retrieval.item_item import PUBLISHED_EASE, ItemKnn
from recsys.retrieval.popular import Popular
from recsys.retrieval.rating_sums import count_ratings
from recsys.retrieval.user_user import UserUser
from tests.factories import tiny_world

CATALOG, INTERACTIONS = tiny_world()
TRAINING = select_group(INTERACTIONS, TRAIN)


@contextmanager
def open_threads(n_workers: int = 2) -> Iterator[Client]:
    workers = LocalCluster(n_workers=n_workers, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0")
    with workers as cluster, Client(cluster) as client:
        yield client


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Partitions:
    """More partitions than a task adds up, some without users of a fold."""
    monkeypatch.setattr(partitions, "USERS_PER_PARTITION", 8)
    monkeypatch.setattr(sums, "GROUP", 3)
    return write_partitions(INTERACTIONS, CATALOG, str(tmp_path / "data"))


def make_models() -> list[CandidateGenerator]:
    return [EaseMixture(), Als(n_factors=8, n_iterations=2), ItemKnn(), LightFm(n_components=8, n_epochs=2), Popular()]


def read_state(stage: FirstStage, name: str) -> dict[str, Any]:
    return dict(stage.models[name].state())  # type: ignore[attr-defined]


def test_partitions_hold_every_rating_once(parts: Partitions) -> None:
    tables = [parts.read_ratings(number) for number in range(parts.n_partitions)]
    assert parts.n_partitions == 20
    assert sum(map(len, tables)) == len(INTERACTIONS)
    assert sorted(user for table in tables for user in table.user_ids) == INTERACTIONS.user_ids.tolist()
    assert parts.read_catalog().item_ids.tolist() == CATALOG.item_ids.tolist()


def test_counts_of_parts_add_up_to_those_of_the_whole() -> None:
    ratings = INTERACTIONS.to_matrix(CATALOG)
    whole, added = count_ratings(ratings), count_ratings(ratings[:50]) + count_ratings(ratings[50:])
    lengths = np.diff(ratings.indptr)
    assert whole.median_length == added.median_length == np.median(lengths)
    assert added.n_users == len(lengths)
    np.testing.assert_array_equal(whole.n_likes, added.n_likes)
    np.testing.assert_allclose(whole.mean_evidence, added.mean_evidence, atol=1e-8)
    assert count_ratings(ratings[:0]).median_length == 1.0


def test_models_are_those_of_one_machine(parts: Partitions) -> None:
    ratings, user_ids = TRAINING.to_matrix(CATALOG), TRAINING.user_ids
    alone = cross_fit(ratings, user_ids, CATALOG, make_models, n_folds=N_FOLDS, n_threads=1)
    with open_threads() as client:
        for ours, theirs in zip(cross_fit_on_cluster(client, parts, make_models), alone, strict=True):
            assert list(ours.models) == list(theirs.models)
            for name in ("ease", "item_knn", "lightfm", "popular"):
                found, expected = read_state(ours, name), read_state(theirs, name)
                assert found.keys() == expected.keys()
                for key, values in expected.items():
                    np.testing.assert_allclose(found[key], values, atol=1e-6, err_msg=f"{name} {key}")


def test_als_by_blocks_is_als_on_the_whole(parts: Partitions, monkeypatch: pytest.MonkeyPatch) -> None:
    """`implicit` starts from other vectors and solves approximately, so the reference is the plain alternation."""
    monkeypatch.setattr(als, "BLOCK", 20)
    model = Als(n_factors=8, n_iterations=4, regularisation=2.0, seed=3)
    with open_threads() as client:
        found = fit_als(client, model, parts, len(CATALOG), without=1)
    user_ids = TRAINING.user_ids
    rows = np.flatnonzero(assign_folds(user_ids, N_FOLDS) != 1)
    confidences = model.compute_confidences(TRAINING.to_matrix(CATALOG)[rows])
    items = (0.01 * np.random.default_rng(3).random((len(CATALOG), 8))).astype(np.float32)
    for _ in range(4):
        users = fold_in(items, items.T @ items, confidences, model.regularisation)
        items = fold_in(users, users.T @ users, confidences.T.tocsr(), model.regularisation)
    np.testing.assert_allclose(found.item_vectors, items, rtol=1e-3, atol=1e-5)


def test_the_number_of_workers_changes_no_byte(parts: Partitions) -> None:
    found = []
    for n_workers in (1, 3):
        with open_threads(n_workers) as client:
            stage = next(cross_fit_on_cluster(client, parts, make_models))
        found.append({name: read_state(stage, name) for name in stage.models})
    for name, state in found[0].items():
        assert all(values.tobytes() == found[1][name][key].tobytes() for key, values in state.items()), name


def test_the_published_form_of_ease_is_fitted_too(parts: Partitions) -> None:
    expected = type(PUBLISHED_EASE)(**vars(PUBLISHED_EASE)).fit(TRAINING.to_matrix(CATALOG), CATALOG)
    with open_threads() as client:
        found = next(cross_fit_on_cluster(client, parts, lambda: [PUBLISHED_EASE]))
    np.testing.assert_allclose(read_state(found, "ease")["data"], expected.state()["data"], atol=1e-6)


def test_beyond_its_limit_vectors_of_als_stand_in_for_lightfm(
    parts: Partitions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "LIGHTFM_RATINGS", 100)
    with open_threads() as client:
        stage = next(cross_fit_on_cluster(client, parts, make_models))
    assert list(stage.models) == ["ease", "als", "item_knn", "popular"]
    assert stage.item_vectors is stage.models["als"].item_vectors


def test_a_model_without_sums_is_named(parts: Partitions) -> None:
    with open_threads() as client, pytest.raises(ConfigurationError, match=r"user_user cannot .* OTAKU_TRAIN_ON=local"):
        next(cross_fit_on_cluster(client, parts, lambda: [UserUser()]))
