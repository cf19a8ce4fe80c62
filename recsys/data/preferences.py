"""What a user's ratings say about their taste: genre shares and mean rating, for any number of users in one pass."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from recsys.columns import Columns
from recsys.data.catalog import Catalog
from recsys.data.interactions import Interactions
from recsys.types import RatingMatrix

N_RATINGS = "n_ratings"
MEAN_RATING = "mean_rating"
GENRE_SHARES = "genre_shares"


def compute_genre_shares(history: RatingMatrix, catalog: Catalog) -> npt.NDArray[np.float64]:
    """Compute the share of each user's watched titles that carry each genre.

    Every genre of a title counts, and a title without genres counts as watched; so a row may sum to more or to less
    than one. A user without ratings has zeros.

    Parameters
    ----------
    history
        CSR `(n_users, n_items)` of ratings 1..10 in the item order of `catalog`.
    catalog
        Gives the genres; columns of the result follow `catalog.genres`.

    Returns
    -------
    Shares 0..1, `(n_users, n_genres)`; exact quotients of counts, so equal input gives equal bits.
    """
    watched = history.copy()
    watched.data = np.ones(len(history.data), dtype=np.float64)
    n_watched = np.diff(history.indptr)
    counts = np.asarray(watched @ catalog.genre_matrix, dtype=np.float64)
    return np.asarray(counts / np.maximum(n_watched, 1)[:, None], dtype=np.float64)


def compute_preferences(interactions: Interactions, catalog: Catalog) -> pd.DataFrame:
    """Compute the preferences of all users who rated something.

    Parameters
    ----------
    interactions
        Ratings of titles that the catalog holds.
    catalog
        Gives the genres.

    Returns
    -------
    One row per user, ascending by `user_id`: `user_id` (int64), `n_ratings` (int64), `mean_rating` (1..10, as rated,
    not scaled) and one column per genre in the order of `catalog.genres`, see `compute_genre_shares`.

    Raises
    ------
    UnknownItemError
        If a user rated a title that the catalog does not hold.
    """
    history = interactions.to_matrix(catalog)
    n_ratings = np.diff(history.indptr).astype(np.int64)
    total = np.asarray(history.sum(axis=1, dtype=np.float64)).ravel()
    shares = pd.DataFrame(compute_genre_shares(history, catalog), columns=list(catalog.genres))
    numbers = pd.DataFrame(
        {Columns.User: interactions.user_ids, N_RATINGS: n_ratings, MEAN_RATING: total / np.maximum(n_ratings, 1)}
    )
    return pd.concat([numbers, shares], axis="columns")


def build_preference_rows(preferences: pd.DataFrame) -> pd.DataFrame:
    """Arrange the result of `compute_preferences` as rows of the table `user_preferences`.

    Returns
    -------
    The columns `user_id`, `n_ratings`, `mean_rating` and `genre_shares`: a dict from genre to share, alphabetical,
    without the genres that the user never watched. Shares are not rounded.
    """
    numbers = [Columns.User, N_RATINGS, MEAN_RATING]
    genres = np.array(preferences.columns.drop(numbers), dtype=object)
    shares = preferences[list(genres)].to_numpy(dtype=np.float64)
    rows = [dict(zip(genres[row > 0], row[row > 0].tolist(), strict=True)) for row in shares]
    return preferences[numbers].assign(**{GENRE_SHARES: pd.Series(rows, index=preferences.index, dtype=object)})
