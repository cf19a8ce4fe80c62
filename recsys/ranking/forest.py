"""A LightGBM forest evaluated exactly, many rows at a time.

LightGBM sends one row after the other through one tree after the other, and every split is a branch that the processor
guesses wrong. Here every value is first translated into one byte, its place among the cuts of the forest (as in
RapidScorer, Ye et al., KDD 2018); splits whose outcome is the same for all rows, such as those on features of the one
user who asks, are resolved once a request; and what is left of a tree is applied to blocks of rows by comparing bytes
(the leaves of all rows at once, as in QuickScorer, Lucchese et al., SIGIR 2015).

The sum runs over the same doubles in the same order, so the result is that of `Booster.predict`, to the last bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from recsys.exceptions import SchemaMismatchError, UnsupportedForestError
from recsys.ranking.forest_columns import Columns, plan_columns
from recsys.ranking.forest_kernels import Bytes, Doubles, Integers, replay, resolve
from recsys.ranking.forest_lanes import ROWS
from recsys.ranking.forest_sums import SMALL
from recsys.ranking.forest_text import read_trees
from recsys.types import Floats

MAX_LEAVES = 256  # a leaf is a byte


@dataclass(frozen=True)
class FixedCodes:
    """The fixed features of rows, encoded: `(n_fixed, n_padded)`, of which the first `n_rows` rows count.

    Of each column `known` holds the code that all rows have, -1 where they differ.
    """

    codes: Bytes
    known: npt.NDArray[np.int16]
    n_rows: int


@dataclass(frozen=True)
class Codes:
    """Encoded rows.

    Parameters
    ----------
    fixed, fresh
        The columns of fixed features, and the others, `(n_columns - n_fixed, n_padded)`.
    known
        The code that all rows have in a column, -1 where they differ, `(n_columns,)`.
    """

    fixed: FixedCodes
    fresh: Bytes
    known: npt.NDArray[np.int16]


@dataclass(frozen=True)
class Forest:
    """Trees as arrays; immutable, safe to share among threads.

    Parameters
    ----------
    n_features
        Width of the tables.
    columns
        How values become bytes.
    roots, splits, leaf_values
        As `forest_kernels.resolve` describes them.
    left_shares
        Of each split: the share of the training rows that went left, `(n_splits,)`.
    """

    n_features: int
    columns: Columns
    roots: Integers
    splits: Integers
    leaf_values: Doubles
    left_shares: Doubles

    @classmethod
    def from_booster(cls, booster: lgb.Booster, fixed: Sequence[int] = ()) -> "Forest":
        """Take a booster apart.

        Parameters
        ----------
        fixed
            Features that say the same about a row in every request, such as those of a title; see `encode_fixed`.

        Raises
        ------
        UnsupportedForestError
            If only LightGBM itself can evaluate the forest.
        """
        trees = read_trees(booster)
        n_leaves = np.array([len(tree.leaf_values) for tree in trees], dtype=np.int64)
        if n_leaves.max(initial=0) > MAX_LEAVES:
            raise UnsupportedForestError(f"a tree has {n_leaves.max()} leaves; at most {MAX_LEAVES} are known")
        is_fixed = np.zeros(booster.num_feature(), dtype=np.bool_)
        is_fixed[list(fixed)] = True
        columns, placed = plan_columns(trees, is_fixed)
        first_leaves = np.cumsum(n_leaves) - n_leaves
        first_splits = first_leaves - np.arange(len(trees))
        return cls(
            n_features=booster.num_feature(),
            columns=columns,
            # A tree without a split begins, and ends, with its only leaf.
            roots=np.where(n_leaves > 1, first_splits, ~first_leaves).astype(np.int32),
            splits=np.column_stack(
                [
                    placed.columns,
                    placed.limits,
                    _join_children([tree.left for tree in trees], first_splits, first_leaves),
                    _join_children([tree.right for tree in trees], first_splits, first_leaves),
                ]
            ),
            leaf_values=np.concatenate([np.zeros(0), *(tree.leaf_values for tree in trees)]),
            left_shares=np.concatenate([np.zeros(0), *(tree.left_shares for tree in trees)]),
        )

    def score(self, table: Floats) -> Doubles:
        """Evaluate rows: the raw score that `Booster.predict` gives, `(n_rows,)`.

        Parameters
        ----------
        table
            `(n_rows, n_features)`, float32, fastest in Fortran order. Rows of one user are fastest together: what
            they share is resolved once.
        """
        return self.score_codes(self.encode(table))

    def encode_fixed(self, table: Floats) -> FixedCodes:
        """Encode the fixed features of rows once for all requests; the other features are not looked at."""
        part = slice(0, self.columns.n_fixed)
        return FixedCodes(*self.columns.encode(self._check(table), part, _pad(len(table))), len(table))

    def encode(self, table: Floats, fixed: FixedCodes | None = None) -> Codes:
        """Encode rows, or only their other features where those that are fixed were encoded before.

        Parameters
        ----------
        table
            As many rows as `fixed` has, or one that stands for all of them.
        """
        table = self._check(table)
        if fixed is None:
            fixed = self.encode_fixed(table)
        if len(table) not in (1, fixed.n_rows):
            raise SchemaMismatchError(f"{len(table)} rows where the fixed features have {fixed.n_rows}")
        part = slice(self.columns.n_fixed, len(self.columns))
        fresh, known = self.columns.encode(table, part, _pad(len(table)))
        return Codes(fixed, fresh, np.concatenate([fixed.known, known]))

    def score_codes(self, codes: Codes) -> Doubles:
        """Evaluate encoded rows, `(n_rows,)`."""
        columns = np.empty(len(self.splits), dtype=np.int32)
        steps = np.empty((len(columns), 3), dtype=np.int32)
        starts = np.empty(len(self.roots) + 1, dtype=np.int32)
        leaf_values = np.empty(len(self.leaf_values) + SMALL)
        resolve(self.roots, self.splits, self.leaf_values, codes.known, columns, steps, starts, leaf_values)
        scores = np.zeros(codes.fixed.codes.shape[1])
        replay(columns, steps, starts, leaf_values, codes.fixed.codes, codes.fresh, self.columns.n_fixed, scores)
        return scores[: codes.fixed.n_rows]

    def attribute(self, table: Floats, groups: Sequence[int]) -> Doubles:
        """Divide the scores of rows among groups of features by their Shapley values, `(n_rows, n_groups)`.

        What the groups contribute adds up to the score less what the forest says on average.

        Parameters
        ----------
        table
            As for `score`.
        groups
            The group of each feature, from 0 on, `(n_features,)`; at most eight.

        Raises
        ------
        ValueError
            If there is not one group a feature, or there are more than eight.
        """
        from recsys.ranking.forest_attribution import MAX_GROUPS, divide_among_groups, expect

        if len(groups) != self.n_features or not 0 <= min(groups) <= max(groups) < MAX_GROUPS:
            raise ValueError(
                f"groups must name one of {MAX_GROUPS} groups, from 0 on, for each of {self.n_features} features"
            )
        of_splits = np.array(groups, dtype=np.uint8)[self.columns.features[self.splits[:, 0]]]
        codes = self.encode(table)
        values = np.zeros((len(table), 2 << max(groups)))
        expect(
            self.roots,
            self.splits,
            self.leaf_values,
            self.left_shares,
            of_splits,
            codes.fixed.codes,
            codes.fresh,
            self.columns.n_fixed,
            values,
        )
        return divide_among_groups(values)

    def _check(self, table: Floats) -> Floats:
        if table.ndim != 2 or table.shape[1] != self.n_features or table.dtype != np.float32:
            raise SchemaMismatchError(
                f"the forest reads float32 rows of {self.n_features} features, not {table.dtype} of shape {table.shape}"
            )
        return table


def _pad(n_rows: int) -> int:
    """Round up to the rows that are worked on together."""
    return -(-n_rows // ROWS) * ROWS


def _join_children(
    children: Sequence[npt.NDArray[np.int64]],
    first_splits: npt.NDArray[np.int64],
    first_leaves: npt.NDArray[np.int64],
) -> Integers:
    """Join the children of all trees, numbered through the forest."""
    joined = [
        np.where(child >= 0, child + split, child - leaf)
        for child, split, leaf in zip(children, first_splits, first_leaves, strict=True)
    ]
    return np.concatenate([np.zeros(0, dtype=np.int64), *joined]).astype(np.int32)
