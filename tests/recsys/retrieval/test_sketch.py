"""What a sketch leaves over holds the nearest titles, whatever the vectors are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.features.item_side import normalise_rows
from recsys.recommender.list_rules import ListOptions
from recsys.retrieval.sketch import Sketch
from tests.factories import tiny_recommender


def make_vectors(rng: np.random.Generator, n_items: int, n_dimensions: int, kind: str) -> np.ndarray:
    """Vectors of unit length or none: scattered, in tight bunches, sparse, or all alike but for the last digits."""
    vectors = rng.normal(size=(n_items, n_dimensions))
    if kind == "bunches":
        vectors = vectors[rng.integers(0, min(3, n_items), n_items)] + 1e-3 * vectors
    elif kind == "sparse":
        vectors *= rng.random(vectors.shape) < 0.1
    elif kind == "alike":
        vectors = vectors[:1] + 1e-6 * vectors
    return normalise_rows(vectors.astype(np.float32))


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 400), st.sampled_from([1, 3, 64, 448, 1000])),
    kind=st.sampled_from(["scattered", "bunches", "sparse", "alike"]),
    k=st.sampled_from([1, 10, 100]),
    share=st.sampled_from([0.0, 0.1, 1.0]),
)
def test_the_nearest_are_always_left(seed: int, shape: tuple[int, int], kind: str, k: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    vectors = make_vectors(rng, *shape, kind)
    query, allowed = vectors[rng.integers(len(vectors))], rng.random(len(vectors)) < share
    left = Sketch.of(vectors).narrow(query, allowed, k)
    assert allowed[left].all()
    assert np.array_equal(left, np.unique(left))
    exact = np.where(allowed, vectors.astype(np.float64) @ query.astype(np.float64), -np.inf)
    nearest = np.argsort(-exact, kind="stable")[: min(k, int(allowed.sum()))]
    assert np.isin(nearest, left).all()


@given(
    seed=st.integers(0, 2**32 - 1),
    n_dimensions=st.sampled_from([1, 2, 16, 448, 1000]),
    ends=st.sampled_from([(0.49, 0.0), (-0.49, 0.0), (0.0, 0.49), (0.49, 0.49)]),
)
def test_no_product_is_further_off_than_is_said(seed: int, n_dimensions: int, ends: tuple[float, float]) -> None:
    """Every number lies just before the middle between two whole ones, all to one side: the worst that can be."""
    rng = np.random.default_rng(seed)
    of_vectors, of_query = ends
    whole = rng.integers(0, 127, (40, n_dimensions)) + of_vectors
    whole[:, 0] = 127.0
    vectors = (whole / np.linalg.norm(whole, axis=1, keepdims=True)).astype(np.float32)
    finest = min(32767, (2**31 - 1) // (127 * n_dimensions))
    wanted = np.append(finest, rng.integers(0, 60, n_dimensions - 1) + of_query)
    query = (wanted / np.linalg.norm(wanted)).astype(np.float32)
    signs = rng.choice([-1, 1], n_dimensions).astype(np.float32)
    products, errors = Sketch.of(vectors * signs).estimate(query * signs)
    off = np.abs((vectors * signs).astype(np.float64) @ (query * signs).astype(np.float64) - products)
    assert (off <= errors).all()


def test_what_is_said_to_be_off_is_hardly_more_than_can_be() -> None:
    """Half of it would not do: these vectors take nine tenths."""
    whole = np.full((1, 448), 3.49)
    whole[:, 0] = 127.0
    vectors = (whole / np.linalg.norm(whole)).astype(np.float32)
    query = normalise_rows(np.ones((1, 448), dtype=np.float32))[0]
    products, errors = Sketch.of(vectors).estimate(query)
    off = abs(float(vectors[0].astype(np.float64) @ query.astype(np.float64)) - products[0])
    assert 0.9 * errors[0] < off <= errors[0]


def test_few_are_left_of_many() -> None:
    vectors = make_vectors(np.random.default_rng(0), 5000, 448, "scattered")
    assert len(Sketch.of(vectors).narrow(vectors[7], np.ones(5000, dtype=bool), 10)) < 500


@pytest.mark.parametrize("diversity", [0.0, 0.5])
def test_titles_like_one_are_the_same_with_and_without_a_sketch(diversity: float) -> None:
    plain = tiny_recommender()
    fast = plain.accelerate()
    assert plain.sketch is None
    assert fast.sketch is not None
    allowed = np.arange(len(plain.catalog)) % 3 > 0
    for item_id in plain.catalog.item_ids.tolist():
        slow, quick = (
            model.similar_items(item_id, k=5, allowed=allowed, options=ListOptions(diversity=diversity))
            for model in (plain, fast)
        )
        assert slow.item_ids.tolist() == quick.item_ids.tolist()
        assert slow.scores == pytest.approx(quick.scores, abs=1e-6)
