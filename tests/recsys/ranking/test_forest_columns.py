"""Every value becomes the byte that a plain search among the cuts gives."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from recsys.ranking import forest_columns
from recsys.ranking.forest_columns import RIGHT, Columns
from recsys.ranking.forest_kernels import MAX_CUTS, ZERO, compile_encode
from recsys.ranking.forest_lanes import LANES, ROWS, WIDE

TINY = np.float32(1e-45)  # denormal
ODD_VALUES = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, TINY, -TINY, ZERO, -ZERO, 1e-34, 3e38, -3e38], np.float32)
N_FEATURES = 5


def make_columns(rng: np.random.Generator, n_cuts: list[int]) -> Columns:
    """Plan columns at random, some of them several of one feature."""
    cuts = np.zeros((len(n_cuts), MAX_CUTS), dtype=np.float32)
    for own, n in zip(cuts, n_cuts, strict=True):
        values = np.concatenate([ODD_VALUES[2:], rng.normal(size=2 * MAX_CUTS).astype(np.float32)])
        own[:n] = np.sort(rng.choice(np.unique(values), n, replace=False))
    return Columns(
        n_fixed=0,
        features=np.sort(rng.integers(0, N_FEATURES, len(n_cuts))).astype(np.int32),
        cuts=cuts,
        n_cuts=np.array(n_cuts, dtype=np.int32),
        shifts=rng.integers(0, 2, len(n_cuts)).astype(np.uint8),
        missing_codes=rng.choice([0, 3, RIGHT], len(n_cuts)).astype(np.uint8),
        zero_is_missing=rng.integers(0, 2, len(n_cuts)).astype(np.uint8),
        are_twins=np.zeros(len(n_cuts), dtype=np.uint8),
        categories={},
    )


def make_table(rng: np.random.Generator, n_rows: int, columns: Columns) -> np.ndarray:
    """Numbers, cuts and what lies next to them, odd numbers, and what one user is in all or most rows."""
    table = rng.normal(size=(n_rows, N_FEATURES)).astype(np.float32)
    for feature, own, n in zip(columns.features, columns.cuts, columns.n_cuts, strict=True):
        near = np.concatenate([np.nextafter(own[:n], np.float32(side)) for side in (-np.inf, 0, np.inf)] + [own[:n]])
        if n:
            chosen = rng.random(n_rows) < 0.5
            table[chosen, feature] = rng.choice(near, chosen.sum())
    odd = rng.random(table.shape) < 0.2
    table[odd] = rng.choice(ODD_VALUES, odd.sum())
    shared = rng.random(N_FEATURES) < 0.4
    table[:, shared] = rng.choice(ODD_VALUES, shared.sum())
    table[n_rows // 3 : n_rows // 3 + 1, shared] = 0.5
    return table


def search_plainly(table: np.ndarray, columns: Columns) -> np.ndarray:
    """Encode one value after the other."""
    codes = np.zeros((len(columns), len(table)), dtype=np.uint8)
    for column, feature in enumerate(columns.features):
        values = table[:, feature]
        counts = np.searchsorted(columns.cuts[column, : columns.n_cuts[column]], values) + columns.shifts[column]
        is_missing = np.isnan(values) | (bool(columns.zero_is_missing[column]) & (np.abs(values) <= ZERO))
        codes[column] = np.where(is_missing, columns.missing_codes[column], counts)
    return codes


@pytest.fixture(scope="module", params=sorted({False, WIDE}), ids=["compared", "searched"][: 1 + WIDE], autouse=True)
def way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Encode in every way that the processor at hand can."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forest_columns, "encode", compile_encode(wide=request.param))
        yield


@given(
    seed=st.integers(0, 2**32 - 1),
    n_cuts=st.lists(
        st.sampled_from([0, 1, 2, 15, 16, 17, 31, 40, 63, 64, 127, 128, MAX_CUTS - 1, MAX_CUTS]), min_size=1, max_size=7
    ),
    n_rows=st.sampled_from([0, 1, LANES - 1, LANES, LANES + 1, 511, 512, 513, 700, 1024 + LANES]),
)
@hypothesis_settings(max_examples=150)
def test_a_code_is_the_number_of_cuts_below_or_that_of_what_is_missing(
    seed: int, n_cuts: list[int], n_rows: int
) -> None:
    rng = np.random.default_rng(seed)
    columns = make_columns(rng, n_cuts)
    table = make_table(rng, n_rows, columns)
    n_padded = -(-n_rows // ROWS) * ROWS
    codes, known = columns.encode(table, slice(0, len(columns)), n_padded)
    assert codes.shape == (len(columns), n_padded)
    expected = search_plainly(table, columns)
    assert np.array_equal(codes[:, :n_rows], expected)
    assert known.tolist() == [own[0] if len(set(own)) == 1 else -1 for own in expected.tolist()]


@pytest.mark.parametrize("part", [slice(0, 2), slice(1, 3), slice(3, 3)])
def test_some_columns_are_encoded_alone(part: slice) -> None:
    rng = np.random.default_rng(5)
    columns = make_columns(rng, [3, 40, MAX_CUTS])
    table = make_table(rng, 300, columns)
    n_padded = -(-300 // ROWS) * ROWS
    assert np.array_equal(columns.encode(table, part, n_padded)[0][:, :300], search_plainly(table, columns)[part])


@pytest.mark.parametrize("part", [slice(0, 4), slice(1, 4), slice(3, 4)])
def test_a_twin_is_what_its_own_search_gives(part: slice) -> None:
    """Two features, each with what is missing on the right, then on the left of the same cuts."""
    rng = np.random.default_rng(6)
    columns = make_columns(rng, [MAX_CUTS, 1, 40, 1])
    columns = replace(
        columns,
        features=np.array([0, 0, 3, 3], dtype=np.int32),
        cuts=columns.cuts[[0, 0, 2, 2]],
        n_cuts=columns.n_cuts[[0, 0, 2, 2]],
        shifts=np.array([0, 1, 0, 1], dtype=np.uint8),
        missing_codes=np.array([RIGHT, 0, RIGHT, 0], dtype=np.uint8),
        zero_is_missing=columns.zero_is_missing[[0, 0, 2, 2]],
        are_twins=np.array([0, 1, 0, 1], dtype=np.uint8),
    )
    table = make_table(rng, 700, columns)
    assert np.array_equal(columns.encode(table, part, 1024)[0][:, :700], search_plainly(table, columns)[part])
