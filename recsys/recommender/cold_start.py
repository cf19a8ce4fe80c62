"""A user without a history: there is nothing to rank by but what is popular, and the genres they state.

The trees learn almost everything from what history and candidate have in common. Where that is missing, their order is
worse than that of popularity (NDCG@10 0.158 against 0.172 on MyAnimeList), so that it is not asked for.
"""

from typing import Final

from recsys.features.pairs import Pairs
from recsys.features.taste_features import compute_genre_match
from recsys.retrieval.popular import Popular
from recsys.types import Floats

# What a perfect match of genres is worth in units of the logarithm of the number of users who like a title; found on
# the validation users of MyAnimeList, where 0.5 to 1 make no difference.
GENRE_WEIGHT: Final = 0.75


def score_cold_start(pairs: Pairs) -> tuple[Floats, Floats]:
    """Score pairs of users without a history.

    Returns
    -------
    What popularity and what the stated genres contribute to each score, `(n_pairs,)` both; the genres 0 where none are
    stated.
    """
    popularity = pairs.scores[Popular.name][pairs.rows, pairs.columns]
    return popularity, (GENRE_WEIGHT * compute_genre_match(pairs)["genre_match"]).astype(popularity.dtype)
