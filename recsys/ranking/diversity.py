"""Trade a little relevance for variety: maximal marginal relevance, and one title a franchise."""

import numpy as np
import numpy.typing as npt

from recsys.types import Floats, Positions


def select_diverse(
    scores: Floats, vectors: Floats, franchises: npt.NDArray[np.int64], *, diversity: float, k: int
) -> tuple[Positions, Floats]:
    """Pick k candidates, each the best compromise between its score and its distance to those picked before.

    Maximal marginal relevance (Carbonell & Goldstein, SIGIR 1998): the value of a candidate is
    `(1 - diversity) * relevance - diversity * nearest`, where relevance is the score scaled to 0..1 among the
    candidates and nearest the largest cosine with a picked one, if it is above 0. A franchise is represented once,
    until nothing else is left.

    Parameters
    ----------
    scores
        `(n_candidates,)`, best first.
    vectors
        Of unit length, `(n_candidates, n_dimensions)`.
    franchises
        Number of each candidate's franchise, `(n_candidates,)`.
    diversity
        0..1; 0 leaves the order as it is.

    Returns
    -------
    Places among the candidates in the order of the new list, and values that descend with it, `(k,)` both; fewer if
    there are fewer candidates. For diversity 0 the values are the scores.
    """
    k = min(k, len(scores))
    if diversity <= 0 or not k:
        return np.arange(k), scores[:k]
    spread = float(scores.max() - scores.min())
    relevance = (scores - scores.min()) / (spread if spread > 0 else 1.0)
    nearest = np.zeros(len(scores), dtype=np.float32)
    is_open = np.ones(len(scores), dtype=np.bool_)
    is_new = is_open.copy()
    picked, values = np.empty(k, dtype=np.intp), np.empty(k, dtype=np.float32)
    for place in range(k):
        gains = (1 - diversity) * relevance - diversity * nearest
        eligible = is_open & is_new if (is_open & is_new).any() else is_open
        best = int(np.argmax(np.where(eligible, gains, -np.inf)))
        picked[place], values[place] = best, gains[best]
        is_open[best] = False
        is_new &= franchises != franchises[best]
        nearest = np.maximum(nearest, vectors @ vectors[best])
    return picked, np.minimum.accumulate(values)
