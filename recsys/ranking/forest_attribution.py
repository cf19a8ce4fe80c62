"""What groups of features contribute to the scores of a forest: Shapley values with groups as players.

The value of a coalition is what a tree is expected to say when only the features of its groups are known: at any other
split a row goes both ways, each with the share of the training rows that went there (Lundberg et al., "From local
explanations to global understanding with explainable AI for trees", Nature Machine Intelligence 2020). The values of a
few groups as players (Jullum, Redelmeier & Aas, "groupShapley", 2021) need no more than one walk down each tree that
follows all coalitions at once, where the values of single features take one for each feature that a leaf depends on.
"""

from math import factorial
from typing import Final

import numpy as np
import numpy.typing as npt

from recsys.ranking.forest_kernels import MAX_DEPTH, Bytes, Doubles, Integers, compile_kernel

MAX_GROUPS: Final = 8


@compile_kernel("void(i4[::1], i4[:,::1], f8[::1], f8[::1], u1[::1], u1[:,::1], u1[:,::1], i8, f8[:,::1])")
def expect(
    roots: Integers,
    splits: Integers,
    leaf_values: Doubles,
    left_shares: Doubles,
    groups: Bytes,
    fixed_codes: Bytes,
    codes: Bytes,
    n_fixed: int,
    values: Doubles,
) -> None:
    """Add up what trees are expected to say of each row for each coalition.

    Parameters
    ----------
    roots, splits, leaf_values, fixed_codes, codes, n_fixed
        As `forest_kernels.resolve` and `replay` describe them.
    left_shares, groups
        Of each split: the share of the training rows that went left, and the group of its feature, `(n_splits,)`.
    values
        `(n_rows, n_coalitions)`, where the result goes; group g belongs to coalition c if bit g of c is set.
    """
    n_coalitions = values.shape[1]
    pending = np.empty(MAX_DEPTH, dtype=np.int32)
    weights = np.empty((MAX_DEPTH, n_coalitions))
    for row in range(len(values)):
        for tree in range(len(roots)):
            pending[0], n_pending = roots[tree], 1
            weights[0, :] = 1.0
            while n_pending > 0:
                n_pending -= 1
                node = pending[n_pending]
                if node < 0:
                    for coalition in range(n_coalitions):
                        values[row, coalition] += weights[n_pending, coalition] * leaf_values[~node]
                    continue
                column, bit = splits[node, 0], 1 << groups[node]
                code = fixed_codes[column, row] if column < n_fixed else codes[column - n_fixed, row]
                known = 1.0 if code <= splits[node, 1] else 0.0
                for coalition in range(n_coalitions):
                    weight = weights[n_pending, coalition]
                    left = weight * (known if coalition & bit else left_shares[node])
                    weights[n_pending, coalition], weights[n_pending + 1, coalition] = weight - left, left
                pending[n_pending], pending[n_pending + 1] = splits[node, 3], splits[node, 2]
                n_pending += 2


def divide_among_groups(values: Doubles) -> Doubles:
    """Turn the values of coalitions into Shapley values (Shapley, 1953), `(n_rows, n_groups)`.

    Parameters
    ----------
    values
        `(n_rows, 2 ** n_groups)`, in the order of `expect`.
    """
    return values @ weigh_coalitions(int(values.shape[1]).bit_length() - 1)


def weigh_coalitions(n_groups: int) -> npt.NDArray[np.float64]:
    """Return by how much the value of each coalition counts for each group, `(2 ** n_groups, n_groups)`.

    Examples
    --------
    >>> weigh_coalitions(2).tolist()
    [[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5]]
    """
    weights = np.zeros((1 << n_groups, n_groups))
    for coalition in range(1 << n_groups):
        size = coalition.bit_count()
        for group in range(n_groups):
            if coalition >> group & 1:
                weights[coalition, group] = factorial(size - 1) * factorial(n_groups - size) / factorial(n_groups)
            else:
                weights[coalition, group] = -factorial(size) * factorial(n_groups - size - 1) / factorial(n_groups)
    return weights
