"""How a value becomes one byte, so that every split of a forest is `byte <= limit`.

A column encodes one feature under one treatment of missing values; a feature that is treated in two ways, or cut in
more than 254 places, takes several columns. Where what is missing goes right in some splits and left in others, the
second column is a twin of the first: one more throughout, and 255, which stands for what is missing on the right,
becomes the 0 of what is missing on the left.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recsys.ranking.forest_kernels import MAX_CUTS, Bytes, Integers, agree, encode
from recsys.ranking.forest_lanes import LANES
from recsys.ranking.forest_text import CATEGORICAL, DEFAULT_LEFT, MISSING_SHIFT, Tree
from recsys.types import Floats, Mask

NO_MISSING, ZERO_MISSING = 0, 1
RIGHT = 255  # above every limit


class Treatment(NamedTuple):
    """Which feature, what is missing (0 nothing, 1 zero and NaN, 2 NaN), and whether that goes left."""

    feature: int
    missing: int
    goes_left: bool


class CategorySet(NamedTuple):
    """Which feature, and the categories that go left."""

    feature: int
    categories: tuple[int, ...]


@dataclass(frozen=True)
class Columns:
    """The plan of an encoding; arrays as `forest_kernels.encode` describes them.

    Parameters
    ----------
    n_fixed
        How many columns, the first ones, encode features that were declared fixed.
    categories
        What the columns of categorical splits look for, by column.
    """

    n_fixed: int
    features: Integers
    cuts: Floats
    n_cuts: Integers
    shifts: Bytes
    missing_codes: Bytes
    zero_is_missing: Bytes
    are_twins: Bytes
    categories: Mapping[int, CategorySet]

    def __len__(self) -> int:
        return len(self.features)

    def encode(self, table: Floats, part: slice, n_padded: int) -> tuple[Bytes, npt.NDArray[np.int16]]:
        """Encode the rows of a feature table `(n_rows, n_features)` in some of the columns.

        Returns
        -------
        codes
            `(n, n_padded)`.
        known
            The code that all rows have in a column, -1 where they differ, `(n,)`.
        """
        codes = _allocate(len(self.features[part]), n_padded)
        known = np.empty(len(codes), dtype=np.int16)
        encode(
            np.ascontiguousarray(table.T),
            self.features[part],
            self.cuts[part],
            self.n_cuts[part],
            self.shifts[part],
            self.missing_codes[part],
            self.zero_is_missing[part],
            self.are_twins[part],
            codes,
            known,
        )
        for column, wanted in self.categories.items():
            place = column - part.start
            if 0 <= place < len(codes):
                codes[place, : len(table)] = ~_is_in(table[:, wanted.feature], wanted.categories)
                known[place] = agree(codes[place, : len(table)])
        return codes, known


def _allocate(n_columns: int, n_padded: int) -> Bytes:
    """Make room whose rows begin where a line of the cache does, since a vector is as long as a line."""
    room = np.empty(n_columns * n_padded + LANES, dtype=np.uint8)
    start = -room.ctypes.data % LANES
    return room[start : start + n_columns * n_padded].reshape(n_columns, n_padded)


def _is_in(values: Floats, categories: tuple[int, ...]) -> Mask:
    """Tell which values are one of the categories; LightGBM cuts decimals off and lets NaN be none of them."""
    whole = np.trunc(np.nan_to_num(values, nan=-1.0))
    return np.isin(whole, np.array(categories, dtype=np.float32)) & (whole >= 0)


@dataclass(frozen=True)
class Placed:
    """Which column decides each split of a forest, and up to which code a row goes left, `(n_splits,)` both."""

    columns: Integers
    limits: Bytes


def plan_columns(trees: Sequence[Tree], is_fixed: Mask) -> tuple[Columns, Placed]:
    """Find the columns that a forest needs.

    Parameters
    ----------
    is_fixed
        `(n_features,)`: whose columns come first.
    """
    splits = _Splits.collect(trees)
    groups = sorted(
        [*splits.group_numerical(), *splits.group_categorical()], key=lambda group: not is_fixed[group.key.feature]
    )
    columns = np.zeros(len(splits.features), dtype=np.int32)
    limits = np.zeros(len(splits.features), dtype=np.uint8)
    for number, group in enumerate(groups):
        columns[group.rows], limits[group.rows] = number, group.limits
    return _build(groups, is_fixed), Placed(columns, limits)


class _Group(NamedTuple):
    """The splits of one column."""

    key: Treatment | CategorySet
    cuts: Floats
    rows: npt.NDArray[np.intp]
    limits: Bytes
    is_twin: bool = False


@dataclass(frozen=True)
class _Splits:
    """All splits of a forest, tree after tree, `(n_splits,)` each; the sets of the categorical ones by place."""

    features: npt.NDArray[np.int64]
    thresholds: npt.NDArray[np.float64]
    types: npt.NDArray[np.int64]
    sets: Mapping[int, tuple[int, ...]]

    @classmethod
    def collect(cls, trees: Sequence[Tree]) -> "_Splits":
        sets, start = {}, 0
        for tree in trees:
            for split in np.flatnonzero(tree.decision_types & CATEGORICAL).tolist():
                sets[start + split] = tree.find_categories(split)
            start += len(tree.features)
        return cls(
            np.concatenate([np.zeros(0, np.int64), *(tree.features for tree in trees)]),
            np.concatenate([np.zeros(0), *(tree.thresholds for tree in trees)]),
            np.concatenate([np.zeros(0, np.int64), *(tree.decision_types for tree in trees)]),
            sets,
        )

    def group_numerical(self) -> Iterator[_Group]:
        """Unite numerical splits that need the same column; a limit is the number of the cut among its 254.

        Twins have the cuts of both, and the left one follows the right one.
        """
        missing = self.types >> MISSING_SHIFT
        goes_left = (self.types & DEFAULT_LEFT > 0) & (missing != NO_MISSING)
        numerical = np.flatnonzero(self.types & CATEGORICAL == 0)
        found, members = np.unique(np.stack([self.features, missing])[:, numerical], axis=1, return_inverse=True)
        order = np.argsort(members, kind="stable")
        parts = np.split(numerical[order], np.searchsorted(members[order], np.arange(1, found.shape[1])))
        for (feature, kind), rows in zip(found.T.tolist(), parts, strict=False):
            cuts, places = np.unique(round_down(self.thresholds[rows]), return_inverse=True)
            for first in range(0, len(cuts), MAX_CUTS):
                inside = (places >= first) & (places < first + MAX_CUTS)
                own, sides = cuts[first : first + MAX_CUTS], np.unique(goes_left[rows[inside]]).tolist()
                for left in sides:
                    chosen = inside & (goes_left[rows] == left)
                    limits = (places[chosen] - first + left).astype(np.uint8)
                    is_twin = left and len(sides) == 2
                    yield _Group(Treatment(feature, kind, left), own, rows[chosen], limits, is_twin)

    def group_categorical(self) -> Iterator[_Group]:
        """Unite categorical splits that look for the same categories; those that belong have code 0."""
        groups: dict[CategorySet, list[int]] = {}
        for split, categories in self.sets.items():
            groups.setdefault(CategorySet(int(self.features[split]), categories), []).append(split)
        for key, rows in groups.items():
            yield _Group(key, np.zeros(0, np.float32), np.array(rows), np.zeros(len(rows), np.uint8))


def round_down(thresholds: npt.NDArray[np.float64]) -> Floats:
    """Return the largest float32 that is not above each threshold: for float32 values nothing changes."""
    with np.errstate(over="ignore"):
        rounded = thresholds.astype(np.float32)
        return np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def _build(groups: Sequence[_Group], is_fixed: Mask) -> Columns:
    cuts = np.zeros((len(groups), MAX_CUTS), dtype=np.float32)
    for number, group in enumerate(groups):
        cuts[number, : len(group.cuts)] = group.cuts
    n_cuts = np.array([len(group.cuts) for group in groups], dtype=np.int32)
    numerical = [group.key if isinstance(group.key, Treatment) else Treatment(0, 0, False) for group in groups]
    n_below_zero = [int(np.searchsorted(group.cuts, 0.0)) for group in groups]
    return Columns(
        n_fixed=int(sum(is_fixed[group.key.feature] for group in groups)),
        features=np.array([group.key.feature for group in groups], dtype=np.int32),
        cuts=cuts,
        n_cuts=n_cuts,
        shifts=np.array([key.goes_left for key in numerical], dtype=np.uint8),
        missing_codes=np.array(
            [
                # Where nothing is missing, NaN counts as 0.
                n_below if key.missing == NO_MISSING else 0 if key.goes_left else RIGHT
                for key, n_below in zip(numerical, n_below_zero, strict=True)
            ],
            dtype=np.uint8,
        ),
        zero_is_missing=np.array([key.missing == ZERO_MISSING for key in numerical], dtype=np.uint8),
        are_twins=np.array([group.is_twin for group in groups], dtype=np.uint8),
        categories={number: group.key for number, group in enumerate(groups) if isinstance(group.key, CategorySet)},
    )
