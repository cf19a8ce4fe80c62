"""A hidden rating is changed in the tables: nothing that is computed for or from anybody may notice."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import select, update

from recsys.connections import open_engine
from recsys.data.splits import TEST, VALIDATION, select_group, split_history
from recsys.data.users import build_users
from recsys.features.item_side import ItemSide
from recsys.features.pairs import Pairs
from recsys.features.ranking_features import DEFAULT_GROUPS, ORIGINAL_GROUPS, compute_ranking_features
from recsys.recommender.retriever import Retriever
from recsys.retrieval.base import read_state, sparse_from_state
from recsys.retrieval.first_stage import FirstStage
from recsys.settings import Settings
from recsys.storage.artifacts import MANIFEST
from recsys.storage.database import read_ratings
from recsys.storage.tables import ratings
from retrain_model.context import fetch
from retrain_model.job import open_context
from retrain_model.steps.fit import load_snapshot
from tests.retrain_model.conftest import SUNDAY, Start, as_of
from tests.retrain_model.worlds import copy_text_vectors, finished_steps, fitted_files, name_day, read_traces

pytestmark = [pytest.mark.local, pytest.mark.slow]
RUN_KEY = SUNDAY.isoformat()


def change_a_target(settings: Settings, group: str) -> int:
    """Lower a hidden 9 or 10 of a user in a group to 8, which is still liked; return who."""
    columns = ratings.c
    with open_engine(settings) as engine, engine.begin() as connection:
        targets = split_history(select_group(read_ratings(connection, SUNDAY), group)).targets.table
        # A user with several hidden ratings, so that a list has an order to get wrong.
        eligible = targets[targets.groupby("user_id")["rating"].transform("size") >= 4]
        user_id, item_id, _ = eligible[eligible["rating"] >= 9].iloc[0].astype(int)
        here = (columns.user_id == user_id) & (columns.item_id == item_id)
        connection.execute(update(ratings).where(here).values(rating=8))
        assert connection.scalar(select(columns.rating).where(here)) == 8
    return int(user_id)


def see(settings: Settings, group: str, user_id: int, folder: Path) -> tuple[Pairs, dict[str, np.ndarray]]:
    """Retrieve for one user and describe the candidates, with what this world has fitted."""
    with open_context(SUNDAY, settings=settings) as context:
        snapshot = load_snapshot(context)
        text, retrieval = fetch(context, "embed_text", folder), fetch(context, "fit_retrieval", folder)
    first_stage = FirstStage.load(retrieval / "full")
    items = ItemSide(
        catalog=snapshot.catalog,
        text_vectors=read_state(text / "text_vectors.npz")["vectors"],
        title_neighbours=sparse_from_state(read_state(text / "title_neighbours.npz")),
        lightfm_vectors=first_stage.item_vectors,
    )
    users = build_users(select_group(snapshot.interactions, group), snapshot.catalog)
    user = users.select(np.flatnonzero(users.user_ids == user_id))
    pairs = Retriever(first_stage, items, 20).retrieve(user.history, user.tastes)
    tables = {groups[0]: compute_ranking_features(pairs, groups)[1] for groups in (DEFAULT_GROUPS, ORIGINAL_GROUPS)}
    return pairs, tables


def assert_sees_the_same(group: str, user_id: int, changed: Settings, original: Settings, folder: Path) -> None:
    (after, tables_after), (before, tables_before) = (
        see(settings, group, user_id, folder / settings.model_name) for settings in (changed, original)
    )
    assert (after.history != before.history).nnz == 0
    np.testing.assert_array_equal(after.candidates[0], before.candidates[0])
    assert after.scores.keys() == before.scores.keys()
    for name, scores in before.scores.items():
        np.testing.assert_array_equal(after.scores[name], scores)
    for name, table in tables_before.items():
        np.testing.assert_array_equal(tables_after[name], table)


def read_digest(settings: Settings) -> str:
    with open_context(SUNDAY, settings=settings) as context:
        return load_snapshot(context).digest


def test_a_target_of_a_test_user_moves_that_users_metrics_and_nothing_else(
    open_world: Callable[[], Settings], start_retrain: Start, undisturbed: Settings, tmp_path: Path
) -> None:
    changed = open_world()
    copy_text_vectors(undisturbed, changed)
    user_id = change_a_target(changed, TEST)
    fork = start_retrain(changed, *as_of(SUNDAY))
    assert fork.wait() == 0, fork.log.read_text()
    assert read_digest(changed) != read_digest(undisturbed)
    after, before = read_traces(changed), read_traces(undisturbed)
    # First stage, text vectors, both heads: every file, byte for byte.
    assert fitted_files(after, RUN_KEY) == fitted_files(before, RUN_KEY)
    assert_sees_the_same(TEST, user_id, changed, undisturbed, tmp_path)
    tables = []
    for settings in (changed, undisturbed):
        with open_context(SUNDAY, settings=settings) as context:
            place = fetch(context, "evaluate", tmp_path / f"{settings.model_name}-evaluated")
        tables.append(pd.read_parquet(place / "per_user.parquet"))
    same = tables[0].eq(tables[1]) | (tables[0].isna() & tables[1].isna())
    rows, columns = np.nonzero(~same.to_numpy())
    assert set(tables[0]["user_id"].iloc[rows]) == {user_id}
    # Hidden in one of the five hidings, where the lists stay as they were (checked above); in the four others it is
    # history, from which that user's own lists may change.
    changed_metrics = set(tables[0].columns[columns])
    assert "mae" in changed_metrics
    assert "user_id" not in changed_metrics


def test_a_target_of_a_validation_user_reaches_no_first_stage_feature_or_candidate(
    open_world: Callable[[], Settings], start_retrain: Start, undisturbed: Settings, tmp_path: Path
) -> None:
    changed = open_world()
    copy_text_vectors(undisturbed, changed)
    user_id = change_a_target(changed, VALIDATION)
    for step in ("snapshot", "embed_text", "fit_retrieval"):
        fork = start_retrain(changed, step, *as_of(SUNDAY))
        assert fork.wait() == 0, fork.log.read_text()
        assert name_day(json.loads(fork.log.read_text().splitlines()[-1])).endswith(f"/retrain/{RUN_KEY}/{step}/")
    assert read_digest(changed) != read_digest(undisturbed)
    after, before = read_traces(changed), read_traces(undisturbed)
    assert finished_steps(after, RUN_KEY) == {"snapshot", "embed_text", "fit_retrieval"}
    fitted = ("embed_text", "fit_retrieval")
    assert fitted_files(after, RUN_KEY, fitted) == fitted_files(before, RUN_KEY, fitted)
    # It was really fitted anew: what it says it was fitted on differs.
    manifest = f"retrain/{RUN_KEY}/fit_retrieval/{MANIFEST}"
    assert after.manifests[manifest] != before.manifests[manifest]
    assert_sees_the_same(VALIDATION, user_id, changed, undisturbed, tmp_path)
