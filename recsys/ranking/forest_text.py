"""Read the trees of a LightGBM model from its text format, the open format in which models are stored."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from recsys.exceptions import UnsupportedForestError

# Objectives whose prediction is the plain sum of the leaves.
PLAIN_OBJECTIVES: Final = frozenset(
    {"regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg", "custom"}
)
CATEGORICAL: Final = 1  # bits of a decision type
DEFAULT_LEFT: Final = 2
MISSING_SHIFT: Final = 2  # 0: no missing values, they count as 0; 1: zeros are missing; 2: NaN is missing


@dataclass(frozen=True)
class Tree:
    """One tree with n leaves, as stored: a child below 0 is the leaf ~child.

    Parameters
    ----------
    features, decision_types, left, right
        Of the n - 1 splits, integers; split 0 is the root.
    thresholds
        Of the n - 1 splits; for a categorical one the number of its set.
    leaf_values
        `(n,)`.
    left_shares
        Of the n - 1 splits: the share of the training rows that went left.
    category_starts, category_words
        Set number s is the bits of `category_words[category_starts[s] : category_starts[s + 1]]`, 32 a word.
    """

    features: npt.NDArray[np.int64]
    thresholds: npt.NDArray[np.float64]
    decision_types: npt.NDArray[np.int64]
    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    leaf_values: npt.NDArray[np.float64]
    left_shares: npt.NDArray[np.float64]
    category_starts: npt.NDArray[np.int64]
    category_words: npt.NDArray[np.int64]

    def find_categories(self, split: int) -> tuple[int, ...]:
        """Return the categories that go left at a categorical split, ascending."""
        number = int(self.thresholds[split])
        words = self.category_words[self.category_starts[number] : self.category_starts[number + 1]]
        bits = (words[:, None] >> np.arange(32)) & 1
        return tuple(np.flatnonzero(bits.ravel()).tolist())


def read_trees(booster: lgb.Booster) -> list[Tree]:
    """Read the trees that `Booster.predict` sums up: those up to the best iteration, if there is one.

    Raises
    ------
    UnsupportedForestError
        If the prediction is anything but the sum of constant leaves.
    """
    if booster.num_model_per_iteration() != 1:
        raise UnsupportedForestError(f"the forest predicts {booster.num_model_per_iteration()} classes; one is known")
    header, *blocks = booster.model_to_string().split("\nTree=")
    _check_header(header)
    return [_read_tree(block) for block in blocks]


def _check_header(header: str) -> None:
    lines = header.splitlines()
    if "average_output" in lines:
        raise UnsupportedForestError("the forest averages its trees (boosting=rf); only sums are known")
    for line in lines:
        name, _, value = line.partition("=")
        objective, *options = value.split() or [""]
        if name == "objective" and (objective not in PLAIN_OBJECTIVES or "sqrt" in options):
            raise UnsupportedForestError(f"the objective {value!r} changes the sum of the leaves")


def _read_tree(block: str) -> Tree:
    fields = dict(_read_fields(block))
    if fields.get("is_linear", "0") != "0":
        raise UnsupportedForestError("a tree has linear models in its leaves; only constants are known")
    integers: list[npt.NDArray[np.int64]] = [
        _to_numbers(fields.get(name, ""), np.int64)
        for name in ("split_feature", "decision_type", "left_child", "right_child", "cat_boundaries", "cat_threshold")
    ]
    features, decision_types, left, right, category_starts, category_words = integers
    return Tree(
        features=features,
        thresholds=_to_numbers(fields.get("threshold", ""), np.float64),
        decision_types=decision_types,
        left=left,
        right=right,
        leaf_values=_to_numbers(fields["leaf_value"], np.float64),
        left_shares=_compute_left_shares(fields, left),
        category_starts=category_starts,
        category_words=category_words,
    )


def _compute_left_shares(fields: dict[str, str], left: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Divide the rows of each left child by those of its split."""
    in_splits = _to_numbers(fields.get("internal_count", ""), np.int64)
    in_leaves = _to_numbers(fields.get("leaf_count", ""), np.int64)
    if len(in_splits) != len(left) or (len(left) and len(in_leaves) != len(left) + 1):
        raise UnsupportedForestError("the rows of leaves and splits are not counted")
    n_left = np.where(left >= 0, in_splits[np.maximum(left, 0)], in_leaves[np.maximum(~left, 0)]) if len(left) else left
    return np.asarray(n_left / np.maximum(in_splits, 1), dtype=np.float64)


def _read_fields(block: str) -> Iterator[tuple[str, str]]:
    """Yield the fields of a tree; an empty line ends it."""
    for line in block.splitlines()[1:]:
        if not line:
            return
        name, _, value = line.partition("=")
        yield name, value


def _to_numbers(text: str, dtype: type[np.generic]) -> npt.NDArray[Any]:
    return np.array(text.split(), dtype=np.float64).astype(dtype)
