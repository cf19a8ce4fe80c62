"""The contract that every registered model keeps, and the known answers of each."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from recsys.data.catalog import Catalog
from recsys.exceptions import ArtifactError, NotFittedError
from recsys.features.franchises import compute_franchises
from recsys.retrieval.base import CandidateGenerator, read_state, select_top, write_state
from recsys.retrieval.embedding import Als
from recsys.retrieval.first_stage import FirstStage, cross_fit, fit_first_stage, select_candidates
from recsys.retrieval.item_item import Ease, ItemKnn
from recsys.retrieval.popular import Popular
from recsys.retrieval.rating_sums import EVIDENCE
from recsys.retrieval.registry import MODELS, make_first_stage
from recsys.retrieval.spec import ModelInputs, ModelSpec
from recsys.types import RatingMatrix
from tests.factories import tiny_catalog, tiny_world

SPECS = {spec.name: spec for spec in MODELS}
# The same models, smaller.
QUICK = {
    "mf": {"n_factors": 16, "min_ratings": 2, "n_epochs": 4},
    "two-tower": {"n_factors": 16, "hidden": 16, "n_epochs": 4, "n_cold_epochs": 2, "n_negatives": 100},
    "als": {"n_factors": 8},
    "lightfm": {"n_components": 8, "n_epochs": 5},
    "original": {"n_components": 8, "n_epochs": 2, "n_estimators": 20, "learning_rate": 0.1},
}
INPUTS = ModelInputs(lambda: np.pad(tiny_catalog().genre_matrix, ((0, 0), (0, 4))), params=QUICK)


@pytest.fixture(scope="module")
def world() -> tuple[RatingMatrix, Catalog]:
    catalog, interactions = tiny_world()
    return interactions.to_matrix(catalog), catalog


@pytest.fixture(params=SPECS, scope="module")
def spec(request: pytest.FixtureRequest) -> ModelSpec:
    return SPECS[request.param]


@pytest.fixture(scope="module")
def fitted(spec: ModelSpec, world: tuple[RatingMatrix, Catalog]) -> CandidateGenerator:
    return spec.make(INPUTS).fit(*world)


def test_scores_cover_the_catalog_and_are_finite(
    fitted: CandidateGenerator, world: tuple[RatingMatrix, Catalog]
) -> None:
    scores = fitted.score(world[0][:7])
    assert scores.shape == (7, len(world[1]))
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()


def test_a_user_is_scored_the_same_alone_and_in_a_batch(
    fitted: CandidateGenerator, world: tuple[RatingMatrix, Catalog]
) -> None:
    np.testing.assert_allclose(fitted.score(world[0][5]), fitted.score(world[0])[5:6], rtol=1e-4, atol=1e-5)


def test_the_same_seed_gives_the_same_model(
    spec: ModelSpec, fitted: CandidateGenerator, world: tuple[RatingMatrix, Catalog]
) -> None:
    again = spec.make(INPUTS).fit(*world)
    assert np.array_equal(again.score(world[0]), fitted.score(world[0]))


def test_a_seed_that_is_needed_is_used(spec: ModelSpec, world: tuple[RatingMatrix, Catalog]) -> None:
    first, other = (spec.make(replace(INPUTS, seed=seed)).fit(*world).score(world[0][:5]) for seed in (1, 2))
    assert np.array_equal(first, other) == ("seed" not in spec.needs)


def test_a_second_fit_starts_from_scratch(
    spec: ModelSpec, fitted: CandidateGenerator, world: tuple[RatingMatrix, Catalog]
) -> None:
    twice = spec.make(INPUTS).fit(world[0][:40], world[1]).fit(*world)
    assert np.array_equal(twice.score(world[0][:3]), fitted.score(world[0][:3]))


def test_ratings_are_read_as_declared(
    spec: ModelSpec, fitted: CandidateGenerator, world: tuple[RatingMatrix, Catalog]
) -> None:
    other = spec.make(INPUTS).fit(world[0][:40], world[1]).score(world[0][:3])
    assert np.array_equal(other, fitted.score(world[0][:3])) == (not spec.reads_ratings)


def test_a_stored_model_gives_the_same_scores(
    fitted: CandidateGenerator, world: tuple[RatingMatrix, Catalog], tmp_path: Path
) -> None:
    fitted.save(tmp_path)
    files = list(tmp_path.iterdir())
    assert files
    assert {path.name.split(".")[0] for path in files} == {fitted.name}
    assert not {path.suffix for path in files} & {".pkl", ".pickle", ".joblib"}
    loaded = type(fitted).load(tmp_path)
    assert np.array_equal(loaded.score(world[0]), fitted.score(world[0]))


def test_a_missing_truncated_or_incomplete_file_is_refused(fitted: CandidateGenerator, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=fitted.name):
        type(fitted).load(tmp_path)
    fitted.save(tmp_path)
    for path in tmp_path.iterdir():
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(ArtifactError, match=fitted.name):
            type(fitted).load(tmp_path)
        path.write_bytes(content)
    write_state({"odd": np.zeros(1)}, tmp_path / f"{fitted.name}.npz")
    with pytest.raises(ArtifactError, match=fitted.name):
        type(fitted).load(tmp_path)


def test_fitting_and_scoring_change_no_input(spec: ModelSpec, world: tuple[RatingMatrix, Catalog]) -> None:
    ratings, catalog = world[0].copy(), world[1]
    before = ratings.copy(), catalog.items.copy(deep=True)
    spec.make(INPUTS).fit(ratings, catalog).score(ratings)
    assert (ratings != before[0]).nnz == 0
    assert np.array_equal(ratings.indices, before[0].indices)
    pd.testing.assert_frame_equal(catalog.items, before[1])


def test_making_a_model_leaves_the_declaration_unfitted(
    spec: ModelSpec, fitted: CandidateGenerator, tmp_path: Path
) -> None:
    assert fitted is not spec.unfitted
    with pytest.raises(NotFittedError, match="is not fitted"):
        spec.unfitted.score(csr_matrix((1, 3), dtype=np.float32))
    with pytest.raises(NotFittedError, match="is not fitted"):
        spec.unfitted.save(tmp_path)


def test_an_empty_history_has_no_personal_scores(
    fitted: CandidateGenerator, world: tuple[RatingMatrix, Catalog]
) -> None:
    empty = csr_matrix((1, len(world[1])), dtype=np.float32)
    scores = fitted.score(empty)
    assert np.array_equal(scores, fitted.score(empty))
    if fitted.personal and not fitted.serves_cold_start_users:
        assert not scores.any()


def test_scores_depend_on_the_history_as_declared(
    fitted: CandidateGenerator, world: tuple[RatingMatrix, Catalog]
) -> None:
    scores = fitted.score(world[0])
    assert bool((scores == scores[0]).all()) == (not fitted.personal)


def test_a_history_of_one_title_is_scored(fitted: CandidateGenerator, world: tuple[RatingMatrix, Catalog]) -> None:
    n_items = len(world[1])
    one = csr_matrix((np.array([10.0], dtype=np.float32), ([0], [3])), shape=(1, n_items))
    scores = fitted.score(one)
    assert scores.shape == (1, n_items)
    assert np.isfinite(scores).all()
    assert scores.any()


def test_a_history_of_the_whole_catalog_and_of_ten_thousand_entries_is_scored(
    fitted: CandidateGenerator, world: tuple[RatingMatrix, Catalog]
) -> None:
    n_items = len(world[1])
    whole = csr_matrix(np.full((1, n_items), 8.0, dtype=np.float32))
    many = csr_matrix(np.full((10_000 // n_items + 1, n_items), 8.0, dtype=np.float32))
    assert many.nnz >= 10_000
    scores = fitted.score(many)
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(scores, np.repeat(fitted.score(whole), many.shape[0], axis=0), rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def wide_world() -> tuple[RatingMatrix, Catalog]:
    """10,080 titles with the content of the tiny world and names of their own, and 60 users with 100 ratings each."""
    tiny = tiny_catalog().items
    copies = [tiny.assign(item_id=tiny["item_id"] + 20_000 * number) for number in range(210)]
    items = pd.concat(copies, ignore_index=True).sort_values("item_id", ignore_index=True)
    rng = np.random.default_rng(5)
    letters = rng.choice(list("abcdefghijklmnopqrstuvwxyz"), (len(items), 12))
    items["title"] = ["".join(word) for word in letters]
    items["title_english"] = items["title_japanese"] = None
    columns = np.concatenate([rng.choice(len(items), 100, replace=False) for _ in range(60)])
    values = rng.integers(4, 11, len(columns)).astype(np.float32)
    ratings = csr_matrix((values, (np.repeat(np.arange(60), 100), columns)), shape=(60, len(items)))
    return ratings, Catalog(items)


@pytest.mark.e2e
def test_one_history_of_ten_thousand_titles_is_scored(
    spec: ModelSpec, wide_world: tuple[RatingMatrix, Catalog]
) -> None:
    """A history as long as the service takes, in a catalog that holds it: finite scores, again the same."""
    ratings, catalog = wide_world
    inputs = replace(INPUTS, text_vectors=lambda: np.pad(catalog.genre_matrix, ((0, 0), (0, 4))))
    model = spec.make(inputs).fit(ratings, catalog)
    given = np.zeros((1, len(catalog)), dtype=np.float32)
    watched = np.random.default_rng(6).permutation(len(catalog))[:10_000]
    given[0, watched] = np.random.default_rng(7).integers(1, 11, 10_000)
    history = csr_matrix(given)
    assert history.nnz == 10_000
    scores = model.score(history)
    assert scores.shape == (1, len(catalog))
    assert np.isfinite(scores).all()
    assert np.array_equal(model.score(history), scores)
    left = given == 0
    shown = select_top(scores, left, 10)[0]
    assert len(set(shown.tolist())) == 10
    assert left[0, shown].all()


def test_titles_that_nobody_rated_are_scored_as_a_history(spec: ModelSpec, world: tuple[RatingMatrix, Catalog]) -> None:
    """What is unknown to the fit is no error: scores are finite, of the right shape, and may all be zero."""
    ratings, catalog = world
    unrated = ratings.tolil()
    unrated[:, 5] = 0
    history = csr_matrix((np.array([9.0], dtype=np.float32), ([0], [5])), shape=(1, len(catalog)))
    scores = spec.make(INPUTS).fit(unrated.tocsr(), catalog).score(history)
    assert scores.shape == (1, len(catalog))
    assert np.isfinite(scores).all()


def test_concurrent_scores_are_those_of_one_thread(
    fitted: CandidateGenerator, world: tuple[RatingMatrix, Catalog]
) -> None:
    rows = list(range(40))
    expected = [fitted.score(world[0][row]) for row in rows]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda row: fitted.score(world[0][row]), rows))
    assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


def test_optional_parts_have_the_shape_of_the_catalog(
    fitted: CandidateGenerator, world: tuple[RatingMatrix, Catalog]
) -> None:
    n_items = len(world[1])
    assert fitted.item_weights is None or fitted.item_weights.shape == (n_items, n_items)
    assert fitted.item_vectors is None or len(fitted.item_vectors) == n_items


@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if spec.unfitted.personal])
def test_tastes_are_learnt(name: str, world: tuple[RatingMatrix, Catalog]) -> None:
    """Users who like fights are offered fights, by models fitted on other users."""
    ratings, catalog = world
    model = SPECS[name].make(INPUTS).fit(ratings[:120], catalog)
    fights = np.array(["Action" in genres for genres in catalog.items["genres"]])
    scores = model.score(ratings[120:])
    scores[ratings[120:].nonzero()] = -np.inf
    top = np.argsort(-scores, axis=1)[:, :3]
    likes_fights = np.arange(121, 161) % 2 == 1  # ids are 1..160; the odd ones like fights
    hits = fights[top] == likes_fights[:, None]
    assert hits.mean() > 0.75


def test_ease_solves_each_ridge_regression(world: tuple[RatingMatrix, Catalog]) -> None:
    """Compare with the regression of one title on all others, solved without the closed form."""
    ratings, catalog = world
    settings = {"regularisation": 5.0, "franchise_weight": 2.0, "dropout": 0.2, "discount": 0.5}
    model = Ease(min_ratings=1, n_kept=1000, **settings).fit(ratings, catalog)
    assert model.weights_ is not None
    weights = model.weights_.toarray()
    assert not weights.diagonal().any()
    inputs = np.where(ratings.toarray() > 0, EVIDENCE[ratings.toarray().astype(int)], 0).astype(float)
    liked = (ratings.toarray() >= 7).astype(float)
    # In a regression a weight is the square of what rows are multiplied by.
    lengths = (ratings.toarray() > 0).sum(axis=1)
    weights_of_users = (lengths / np.median(lengths)) ** -0.25
    inputs, liked = inputs * weights_of_users[:, None], liked * weights_of_users[:, None]
    # A fifth of the titles is missing at random: the noise of that is a penalty in proportion to the popularity.
    penalties = 5.0 + 0.25 * (inputs**2).sum(axis=0)
    # Each franchise joins as a user who watched and liked all of it, weighted.
    franchises = compute_franchises(catalog, ratings).numbers
    fans = np.sqrt(2.0) * (franchises[None, :] == np.unique(franchises)[:, None])
    inputs, liked = np.vstack([inputs, fans]), np.vstack([liked, fans])
    for item in (0, 5, 17):
        others = np.delete(np.arange(len(catalog)), item)
        rest = inputs[:, others]
        expected = np.linalg.solve(rest.T @ rest + np.diag(penalties[others]), rest.T @ liked[:, item])
        np.testing.assert_allclose(weights[others, item], expected, atol=1e-5)


def test_ease_knows_franchises_even_without_users(world: tuple[RatingMatrix, Catalog]) -> None:
    ratings, catalog = world
    weights = Ease().fit(ratings[:0], catalog).weights_
    assert weights is not None
    franchises = compute_franchises(catalog).numbers
    rows, columns = weights.nonzero()
    assert np.array_equal(franchises[rows], franchises[columns])


def test_ease_keeps_the_largest_weights_of_frequent_titles(world: tuple[RatingMatrix, Catalog]) -> None:
    ratings, catalog = world
    full = Ease(min_ratings=1, n_kept=1000).fit(ratings, catalog).weights_
    pruned = Ease(min_ratings=1, n_kept=5).fit(ratings, catalog).weights_
    assert full is not None
    assert pruned is not None
    counts = (pruned != 0).sum(axis=0)
    assert counts.max() <= 5
    column = full.toarray()[:, 3]
    assert set(np.flatnonzero(pruned.toarray()[:, 3])) <= set(np.argsort(-np.abs(column))[:5])
    n_ratings = np.bincount(ratings.indices, minlength=len(catalog))
    limit = int(np.median(n_ratings)) + 1
    rare = np.flatnonzero(n_ratings < limit)
    weights = Ease(min_ratings=limit).fit(ratings, catalog).weights_
    assert weights is not None
    assert not weights[rare].nnz
    assert not weights[:, rare].nnz


def test_item_knn_is_the_shrunk_cosine(world: tuple[RatingMatrix, Catalog]) -> None:
    ratings, catalog = world
    weights = ItemKnn(shrinkage=3.0, n_kept=1000).fit(ratings, catalog).weights_
    assert weights is not None
    liked = (ratings.toarray() >= 7).astype(float)
    norms = np.linalg.norm(liked, axis=0)
    expected = liked.T @ liked / (np.outer(norms, norms) + 3.0)
    np.fill_diagonal(expected, 0.0)
    np.testing.assert_allclose(weights.toarray(), expected, atol=1e-6)


def test_popular_counts_likes() -> None:
    catalog, _ = tiny_world()
    ratings = np.zeros((3, len(catalog)), dtype=np.float32)
    ratings[:, 0], ratings[:2, 1], ratings[0, 2] = [7, 8, 6], 10, 1
    model = Popular().fit(csr_matrix(ratings), catalog)
    np.testing.assert_allclose(model.scores_[:4], np.log1p([2, 2, 0, 0]))


def test_a_pickled_array_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "model.npz", weights=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ArtifactError, match="cannot be read as plain arrays"):
        read_state(tmp_path / "model.npz")


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    write_state({"weights": np.arange(1000)}, tmp_path / "model.npz")
    content = (tmp_path / "model.npz").read_bytes()
    (tmp_path / "model.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(ArtifactError, match=r"model\.npz"):
        read_state(tmp_path / "model.npz")


def test_top_of_a_row_breaks_ties_by_position() -> None:
    scores = np.array([[1.0, 3.0, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0]], dtype=np.float32)
    allowed = np.array([[True, True, True, True], [False, True, False, True]])
    assert [top.tolist() for top in select_top(scores, allowed, 3)] == [[1, 2, 3], [1, 3]]


def test_candidates_unite_all_models_within_what_is_allowed() -> None:
    scores = {"a": np.array([[3.0, 2.0, 1.0, 0.0]]), "b": np.array([[0.0, 1.0, 2.0, 3.0]])}
    allowed = np.array([[True, True, True, False]])
    assert select_candidates(scores, allowed, 1)[0].tolist() == [0, 2]


def test_first_stage_survives_the_disk(world: tuple[RatingMatrix, Catalog], tmp_path: Path) -> None:
    first_stage = fit_first_stage(*world, lambda: make_first_stage(INPUTS))
    first_stage.save(tmp_path)
    loaded = FirstStage.load(tmp_path)
    assert list(loaded.models) == list(first_stage.models)
    for name, scores in first_stage.score(world[0][:4]).items():
        assert np.array_equal(loaded.score(world[0][:4])[name], scores)
    with pytest.raises(ArtifactError, match="no first-stage model"):
        FirstStage.load(tmp_path / "nowhere")


def test_a_first_stage_knows_what_its_models_are_for(world: tuple[RatingMatrix, Catalog]) -> None:
    first_stage = fit_first_stage(*world, lambda: make_first_stage(INPUTS))
    assert list(first_stage.models) == ["ease", "als", "item_knn", "lightfm", "popular"]
    assert first_stage.proposers == ("ease", "als", "item_knn", "popular")
    assert first_stage.collaborative == ("ease", "als", "item_knn", "lightfm")
    assert set(first_stage.support) == {"ease", "item_knn"}
    assert first_stage.impersonal == {first_stage.fallback} == {"popular"}
    assert first_stage.item_vectors is first_stage.models["lightfm"].item_vectors
    with pytest.raises(ArtifactError, match="no first-stage model orders titles for users without a history"):
        _ = FirstStage({"als": first_stage.models["als"]}).fallback
    with pytest.raises(ArtifactError, match="no first-stage model has the vectors of titles"):
        _ = FirstStage({"popular": first_stage.models["popular"]}).item_vectors


def test_cross_fitted_models_do_not_know_their_fold(world: tuple[RatingMatrix, Catalog]) -> None:
    """Change every rating of one user: the models of that user's fold stay, all others move."""
    ratings, catalog = world
    user_ids = np.arange(1, 161)
    changed = ratings.tolil()
    changed[3] = 0
    changed[3, :5] = 10

    def fit(matrix: RatingMatrix) -> list[np.ndarray]:
        models = cross_fit(
            matrix.tocsr(), user_ids, catalog, lambda: [Als(n_factors=4), Popular()], n_folds=3, n_threads=2
        )
        return [np.hstack([stage.score(ratings[10:12])[name] for name in ("als", "popular")]) for stage in models]

    from recsys.data.splits import assign_folds

    fold = int(assign_folds(user_ids[3:4], 3)[0])
    same = [np.array_equal(a, b) for a, b in zip(fit(ratings), fit(changed), strict=True)]
    assert same == [False, *(place == fold for place in range(3))]
