"""Two heads, trained and stored."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from recsys.exceptions import ArtifactError, ConfigurationError, SchemaMismatchError
from recsys.features.schema import FeatureSchema
from recsys.ranking.params import PRESETS, HeadParams, Preset, get_preset
from recsys.ranking.ranker import Ranker, TrainingTable, train_head

SCHEMA = FeatureSchema({"made up": ("signal", "noise")})
PARAMS = HeadParams("lambdarank", n_estimators=60, learning_rate=0.1, num_leaves=7, min_data_in_leaf=5)


def build_tables(n_users: int = 80, n_candidates: int = 12) -> tuple[TrainingTable, TrainingTable]:
    """The label of a candidate is high where its signal is."""
    rng = np.random.default_rng(0)
    tables = []
    for _ in range(2):
        features = rng.normal(size=(n_users * n_candidates, 2)).astype(np.float32)
        labels = (features[:, 0] + 0.2 * rng.normal(size=len(features)) > 0.8).astype(np.float32)
        tables.append(TrainingTable(features, labels, np.full(n_users, n_candidates)))
    return tables[0], tables[1]


@pytest.fixture(scope="module")
def ranker() -> Ranker:
    train, validation = build_tables()
    rating = HeadParams("regression", n_estimators=60, learning_rate=0.1, num_leaves=7, min_data_in_leaf=5)
    rated = [TrainingTable(part.features, 5 + 3 * part.features[:, 0]) for part in (train, validation)]
    return Ranker(
        SCHEMA,
        train_head(PARAMS, SCHEMA, train, validation, seed=0, n_threads=1).booster,
        train_head(rating, SCHEMA, *rated, seed=0, n_threads=1).booster,
    )


def test_relevance_orders_and_ratings_stay_on_the_scale(ranker: Ranker) -> None:
    features = np.array([[0, 0], [0.8, 0], [2, 0]], dtype=np.float32)
    assert (np.diff(ranker.score(features)) > 0).all()
    ratings = ranker.predict_ratings(features)
    assert (np.diff(ratings) > 0).all()
    assert ratings.min() >= 1
    assert ratings.max() <= 10
    assert ranker.predict_ratings(np.array([[0, 0]], dtype=np.float32))[0] == pytest.approx(5, abs=0.5)


def test_no_row_is_no_error(ranker: Ranker) -> None:
    assert ranker.score(np.empty((0, 2), dtype=np.float32)).shape == (0,)


def test_training_stops_early_and_keeps_its_curves() -> None:
    train, validation = build_tables()
    head = train_head(
        HeadParams("lambdarank", n_estimators=500, learning_rate=0.3, num_leaves=7, early_stopping_rounds=5),
        SCHEMA,
        train,
        validation,
        seed=0,
        n_threads=1,
    )
    curve = head.curves["validation"]["ndcg@10"]
    assert len(curve) < 500
    assert head.booster.best_iteration == int(np.argmax(curve)) + 1


def test_less_memory_for_histograms_grows_the_same_trees() -> None:
    train, validation = build_tables()
    whole, small = (
        train_head(PARAMS, SCHEMA, train, validation, seed=3, n_threads=1, limits=limits).booster
        for limits in ({}, {"histogram_pool_size": 0.01})
    )
    assert "[histogram_pool_size: 0.01]" in small.model_to_string()
    assert np.array_equal(small.predict(train.features), whole.predict(train.features))


def test_training_is_deterministic() -> None:
    train, validation = build_tables()
    texts = {
        train_head(PARAMS, SCHEMA, train, validation, seed=3, n_threads=threads)
        .booster.model_to_string(num_iteration=20)
        .split("parameters:")[0]
        for threads in (1, 1)
    }
    assert len(texts) == 1


def test_progress_is_told() -> None:
    train, validation = build_tables()
    heard: list[tuple[int, int]] = []
    train_head(PARAMS, SCHEMA, train, validation, seed=0, n_threads=1, on_iteration=lambda *step: heard.append(step))
    assert heard[0] == (1, 60)


def test_ranker_survives_the_disk(ranker: Ranker, tmp_path: Path) -> None:
    ranker.save(tmp_path)
    features = build_tables()[0].features
    loaded = Ranker.load(tmp_path)
    assert np.array_equal(loaded.score(features), ranker.score(features))
    assert np.array_equal(loaded.predict_ratings(features), ranker.predict_ratings(features))


@pytest.mark.parametrize("damage", ["", "tree\nversion=v4\nnonsense", "not a model"])
def test_a_damaged_head_is_refused(ranker: Ranker, tmp_path: Path, damage: str) -> None:
    ranker.save(tmp_path)
    (tmp_path / "relevance.lgb.txt").write_text(damage)
    with pytest.raises(ArtifactError, match=r"relevance\.lgb\.txt"):
        Ranker.load(tmp_path)


def test_a_head_of_another_schema_is_refused(ranker: Ranker, tmp_path: Path) -> None:
    ranker.save(tmp_path)
    FeatureSchema({"made up": ("noise", "signal")}).save(tmp_path / "schema.json")
    with pytest.raises(SchemaMismatchError, match="feature 0"):
        Ranker.load(tmp_path)


def test_query_groups_must_cover_the_table() -> None:
    with pytest.raises(SchemaMismatchError, match="query groups cover 3 rows of a table with 4"):
        TrainingTable(np.zeros((4, 2), np.float32), np.zeros(4, np.float32), np.array([1, 2]))


def test_the_preset_original_has_the_parameters_of_the_original() -> None:
    rating = PRESETS["original"].rating
    assert (rating.max_depth, rating.num_leaves, rating.n_estimators, rating.learning_rate) == (8, 255, 2000, 0.01)
    assert (rating.feature_fraction, rating.bagging_fraction, rating.early_stopping_rounds) == (0.8, 0.8, 20)
    assert rating.objective == "regression"


@pytest.mark.parametrize("name", ["original", "seed"])
def test_a_stored_preset_is_read_back_by_its_earlier_name_too(name: str) -> None:
    stored = json.loads(json.dumps({**asdict(PRESETS["original"]), "name": name}))
    assert Preset.from_dict(stored) == PRESETS["original"]


def test_an_unknown_preset_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"'fast' is unknown; choose one of default, original"):
        get_preset("fast")


def test_ratings_are_learnt_as_distances_from_the_mean_of_a_user() -> None:
    """Trees that know nothing leave the mean; without a history the usual mean stands in."""
    schema = FeatureSchema({"user": ("noise", "user_mean_rating")})
    features = np.array([[0.0, 4.0], [0.0, 9.0], [0.0, np.nan]] * 40, dtype=np.float32)
    table = TrainingTable(features, np.zeros(len(features), dtype=np.float32))
    params = HeadParams("regression", n_estimators=1, learning_rate=0.1, num_leaves=2)
    booster = train_head(params, schema, table, table, seed=0, n_threads=1).booster
    np.testing.assert_allclose(Ranker(schema, booster, booster).predict_ratings(features[:3]), [4.0, 9.0, 7.6])


def test_an_accelerated_ranker_gives_the_same_numbers(ranker: Ranker) -> None:
    features = build_tables()[0].features
    fast = ranker.accelerate()
    assert set(fast.forests) == {"relevance", "rating"}
    assert np.array_equal(fast.score(features), ranker.score(features))
    assert np.array_equal(fast.predict_ratings(features), ranker.predict_ratings(features))
    assert fast.score(features[:0]).shape == (0,)


def test_a_head_that_only_lightgbm_can_evaluate_is_left_to_it(caplog: pytest.LogCaptureFixture) -> None:
    train, validation = build_tables()
    params = HeadParams("binary", n_estimators=5, learning_rate=0.1, num_leaves=7, min_data_in_leaf=5)
    heads = [train_head(params, SCHEMA, train, validation, seed=0, n_threads=1).booster] * 2
    slow = Ranker(SCHEMA, *heads)
    fast = slow.accelerate()
    assert not fast.forests
    assert "LightGBM evaluates the relevance head itself: the objective 'binary" in caplog.text
    assert np.array_equal(fast.score(train.features), slow.score(train.features))
