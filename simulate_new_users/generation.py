"""A generative model of users and their ratings, for days on which the queue is empty.

A generated user starts from a template, a real user drawn at random. Their titles come from the template's nearest
neighbours by co-watching and, for a small part, from popularity, never from the template's own list; their ratings are
the item's mean, the template's offset, what the group thought of the title beyond that, and noise as wide as the
template's own. So list lengths, ratings and tastes follow the distribution of real users, and no user is copied.

Checked on 400 users generated from MyAnimeList ratings against 400 real ones, neither seen by the recommenders: recall
at 10 of held-out titles is 0.29 with item-kNN and 0.17 with popularity for the generated, 0.31 and 0.17 for the real;
mean rating 7.75 and 7.85, median list length 55 and 60. The constants below were chosen by these same figures, on
one seed, so they describe the fit and are no independent test of it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import csr_matrix

from recsys.columns import Columns
from recsys.data.interactions import Interactions
from recsys.types import Ids, Positions, RatingMatrix

N_NEIGHBOURS = 20
# With the number of neighbours, chosen so that item-kNN beats popularity as clearly as it does for real users.
TASTE_EXPONENT = 3.0
# Share of the first draw's weight that goes to titles because everybody watched them.
POPULARITY_SHARE = 0.05
# Spread of the logarithm of list length around the template's.
LENGTH_SPREAD = 0.25
# Ratings by which an item mean is drawn towards the mean of all ratings, and by which a group's taste towards none.
ITEM_SHRINKAGE = 5.0
TASTE_SHRINKAGE = 2.0

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Population:
    """What generated users are modelled on; rows are users, columns titles that one of them rated.

    Parameters
    ----------
    item_ids
        `(n_items,)`, ascending.
    watched
        CSR `(n_users, n_items)`, one where a user rated a title.
    residuals
        Same sparsity: rating minus item mean minus the user's offset.
    item_means
        `(n_items,)`, shrunk towards the mean of all ratings.
    offsets, spreads
        `(n_users,)`: how much more generously than average a user rates, and the standard deviation of the rest.
    """

    item_ids: Ids
    watched: RatingMatrix
    residuals: RatingMatrix
    item_means: Numbers
    offsets: Numbers
    spreads: Numbers


def fit_population(interactions: Interactions) -> Population:
    """Fit the model to the ratings of at least one user."""
    table = interactions.table
    users, rows = np.unique(table[Columns.User].to_numpy(), return_inverse=True)
    item_ids, columns = np.unique(table[Columns.Item].to_numpy(), return_inverse=True)
    ratings = table[Columns.Rating].to_numpy(dtype=np.float64)
    lengths, audience = np.bincount(rows), np.bincount(columns)
    item_means = (np.bincount(columns, ratings) + ITEM_SHRINKAGE * ratings.mean()) / (audience + ITEM_SHRINKAGE)
    offsets = np.bincount(rows, ratings - item_means[columns]) / lengths
    residuals = ratings - item_means[columns] - offsets[rows]
    shape = (len(users), len(item_ids))
    return Population(
        item_ids=item_ids,
        watched=csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape),
        residuals=csr_matrix((residuals, (rows, columns)), shape=shape),
        item_means=item_means,
        offsets=offsets,
        spreads=np.sqrt(np.bincount(rows, residuals**2) / lengths),
    )


def select_neighbours(population: Population, template: int) -> tuple[Positions, Numbers]:
    """Select the users whose lists are nearest to the template's, nearest first, the template excluded.

    Returns
    -------
    At most `N_NEIGHBOURS` positions and the cosines of their lists to the template's, 0..1.
    """
    watched = population.watched
    lengths = np.diff(watched.indptr)
    overlaps = (watched @ watched[template].T).toarray().ravel()
    cosines = overlaps / np.sqrt(lengths * lengths[template])
    cosines[template] = -1.0
    nearest = np.argsort(-cosines, kind="stable")[: min(N_NEIGHBOURS, len(lengths) - 1)]
    return nearest, cosines[nearest]


def compute_title_weights(population: Population, neighbours: Positions, cosines: Numbers) -> Numbers:
    """Weigh every title by how much more the neighbours watched it than everybody does; positive, sums to one."""
    audience = population.watched.sum(axis=0).A1
    taste = (cosines**2 @ population.watched[neighbours]) ** TASTE_EXPONENT / audience
    popularity = audience / audience.sum()
    if not taste.any():
        return np.asarray(popularity)
    return np.asarray((1 - POPULARITY_SHARE) * taste / taste.sum() + POPULARITY_SHARE * popularity)


def generate_ratings(population: Population, rng: np.random.Generator) -> pd.DataFrame:
    """Generate the ratings of one user.

    Returns
    -------
    At least one row: `item_id` (int64, unique, ascending) and `rating` (int8, 1..10).
    """
    n_users, n_items = population.watched.shape
    template = int(rng.integers(n_users))
    neighbours, cosines = select_neighbours(population, template)
    length = population.watched[template].nnz * np.exp(LENGTH_SPREAD * rng.standard_normal())
    n_titles = min(max(round(length), 1), n_items)
    # The largest of log weight + Gumbel noise are a weighted sample without replacement (Yellott 1977).
    keys = np.log(compute_title_weights(population, neighbours, cosines)) + rng.gumbel(size=n_items)
    titles = np.sort(np.argsort(-keys, kind="stable")[:n_titles])

    group = np.append(neighbours, template)
    votes = population.watched[group].sum(axis=0).A1
    taste = population.residuals[group].sum(axis=0).A1 / (votes + TASTE_SHRINKAGE)
    noise = population.spreads[template] * rng.standard_normal(n_titles)
    ratings = population.item_means[titles] + population.offsets[template] + taste[titles] + noise
    return pd.DataFrame(
        {
            Columns.Item: population.item_ids[titles],
            Columns.Rating: np.clip(np.rint(ratings), 1, 10).astype(np.int8),
        }
    )
