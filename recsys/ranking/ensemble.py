"""Several boosters of one head as one: the mean of their scores, each in units of its own spread.

A ranking loss and a classification loss err in different places, and trees that differ by their seed err by chance; the
mean of them errs less (Breiman, "Bagging predictors", Machine Learning 1996). The mean of sums of trees is one sum of
trees with scaled leaves, so what is stored, checked, compiled, explained and counted is an ordinary LightGBM model.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import lightgbm as lgb
import numpy as np

from recsys.exceptions import ConfigurationError
from recsys.types import Floats, Positions

_TREE: Final = "\nTree="
_END: Final = "\nend of trees"
# Of a tree, what is in units of the score.
_SCALED: Final = ("leaf_value", "internal_value")


def compute_spread(scores: Floats, group_sizes: Positions) -> float:
    """Compute the mean standard deviation of scores among the candidates of a user.

    Parameters
    ----------
    scores
        `(n_rows,)`, user by user.
    group_sizes
        Candidates of each user, `(n_users,)`, each at least 1.
    """
    values, starts = np.asarray(scores, dtype=np.float64), np.cumsum(group_sizes) - group_sizes
    means = np.add.reduceat(values, starts) / group_sizes
    deviations = (values - np.repeat(means, group_sizes)) ** 2
    return float(np.sqrt(np.add.reduceat(deviations, starts) / group_sizes).mean())


def join_boosters(boosters: Sequence[lgb.Booster], factors: Sequence[float]) -> lgb.Booster:
    """Build the booster whose raw score is the sum of those of some boosters, each times its factor.

    Parameters
    ----------
    boosters
        Of the same features; of each the trees up to its best iteration count.
    factors
        One for each booster.

    Raises
    ------
    ConfigurationError
        If there are not as many factors as boosters, or the boosters read different features.
    """
    if len(boosters) != len(factors) or len({tuple(booster.feature_name()) for booster in boosters}) != 1:
        raise ConfigurationError(
            f"{len(boosters)} boosters with {len(factors)} factors cannot be joined; each needs a factor, and all the "
            f"same features"
        )
    trees = []
    texts = [booster.model_to_string() for booster in boosters]
    header, tail = texts[0].partition(_TREE)[0], texts[0].rpartition(_END)[2]
    for text, factor in zip(texts, factors, strict=True):
        trees += [_scale(tree, factor) for tree in text.rpartition(_END)[0].split(_TREE)[1:]]
    blocks = [f"Tree={number}\n{tree.partition(chr(10))[2].rstrip()}\n\n\n" for number, tree in enumerate(trees)]
    sizes = " ".join(str(len(block.encode())) for block in blocks)
    # Of which a prediction is the plain sum of the leaves, whatever the losses were.
    header = re.sub(r"^objective=.*$", "objective=lambdarank", header, flags=re.MULTILINE)
    header = re.sub(r"^tree_sizes=.*$", f"tree_sizes={sizes}", header, flags=re.MULTILINE)
    return lgb.Booster(model_str=f"{header.rstrip()}\n\n{''.join(blocks)}end of trees{tail}")


def _scale(tree: str, factor: float) -> str:
    """Multiply the outputs of a tree; every number is written so that reading it gives the same double."""
    lines = tree.split("\n")
    for place, line in enumerate(lines):
        name, _, values = line.partition("=")
        if name in _SCALED:
            lines[place] = f"{name}={' '.join(repr(float(value) * factor) for value in values.split())}"
    return "\n".join(lines)


def compute_importance(boosters: Sequence[lgb.Booster]) -> Mapping[str, float]:
    """Compute what each feature brings, as the mean over boosters of its share of the gain; all add up to 1."""
    gains = np.array([booster.feature_importance("gain") for booster in boosters], dtype=np.float64)
    totals = gains.sum(axis=1, keepdims=True)
    shares = (gains / np.where(totals > 0, totals, 1.0)).mean(axis=0)
    return dict(zip(boosters[0].feature_name(), shares.tolist(), strict=True))
