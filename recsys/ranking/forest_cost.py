"""What a forest costs, counted in splits: the same number on every machine."""

import re
from itertools import pairwise
from typing import Final

import lightgbm as lgb

_TREE: Final = re.compile(r"^Tree=\d+$", re.MULTILINE)
_COUNTS: Final = re.compile(r"^internal_count=(.*)$", re.MULTILINE)


def count_mean_splits(booster: lgb.Booster) -> float:
    """Count the splits that a row passes on its way through all trees, on average over the training rows.

    A row that passes a split is one of the rows that LightGBM counted there, so that the counts of all splits of a
    tree, divided by that of its root, are the mean depth of the leaves weighted by the rows in them.

    Examples
    --------
    >>> import numpy as np
    >>> rows = lgb.Dataset(np.repeat([[0.0], [1.0]], 50, axis=0), np.repeat([0.0, 1.0], 50))
    >>> count_mean_splits(lgb.train({"num_leaves": 2, "verbosity": -1}, rows, 3))
    3.0
    """
    text = booster.model_to_string()
    starts = [found.start() for found in _TREE.finditer(text)]
    return sum(_count_tree(text[start:end]) for start, end in pairwise([*starts, len(text)]))


def _count_tree(block: str) -> float:
    found = _COUNTS.search(block)
    counts = [int(count) for count in found[1].split()] if found else []
    return sum(counts) / counts[0] if counts else 0.0
