"""Hybrid item embeddings by LightFM with the WARP loss.

Source: Kula, "Metadata embeddings for user and item cold-start recommendations" (CBRecSys 2015), and Weston, Bengio &
Usunier, "WSABIE" (2011), for the loss.
"""

from dataclasses import dataclass

import numpy as np
from lightfm import LightFM
from scipy.sparse import csr_matrix, hstack, identity

from recsys.data.catalog import Catalog
from recsys.data.interactions import POSITIVE_RATING
from recsys.features.item_features import compute_item_features
from recsys.types import Floats, RatingMatrix


@dataclass(frozen=True)
class LightFmParams:
    """Hyper-parameters; one thread makes the fit reproducible, because WARP on several is a race."""

    n_components: int = 64
    n_epochs: int = 10
    learning_rate: float = 0.05
    n_threads: int = 1


@dataclass(frozen=True)
class LightFmEmbeddings:
    """Item representations: identity plus content features, already summed.

    Parameters
    ----------
    vectors
        `(n_items, n_components)`.
    biases
        `(n_items,)`.
    """

    vectors: Floats
    biases: Floats


def compute_user_features(history: RatingMatrix, catalog: Catalog) -> RatingMatrix:
    """Describe users by genre shares and mean rating: CSR `(n_users, n_genres + 1)`, all in 0..1."""
    watched = history.copy()
    watched.data = np.ones_like(watched.data)
    counts = np.maximum(np.diff(history.indptr), 1)[:, None]
    shares = np.asarray(watched @ catalog.genre_matrix) / counts
    means = np.asarray(history.sum(axis=1)).reshape(-1, 1) / counts / 10
    return csr_matrix(np.hstack([shares, means]).astype(np.float32))


def fit_lightfm(
    ratings: RatingMatrix,
    catalog: Catalog,
    params: LightFmParams,
    *,
    seed: int,
) -> LightFmEmbeddings:
    """Fit item embeddings on positive ratings.

    Parameters
    ----------
    ratings
        Training users only, CSR `(n_users, n_items)` of ratings 1..10; ratings below 7 only shape the user features.
    """
    n_users, n_items = ratings.shape
    positives = ratings.tocoo()
    liked = positives.data >= POSITIVE_RATING
    weights = (positives.data[liked] / 10).astype(np.float32)
    interactions = csr_matrix((weights, (positives.row[liked], positives.col[liked])), shape=ratings.shape)
    item_features = hstack([identity(n_items), compute_item_features(catalog).values], format="csr", dtype=np.float32)
    user_features = hstack([identity(n_users), compute_user_features(ratings, catalog)], format="csr", dtype=np.float32)
    model = LightFM(params.n_components, loss="warp", learning_rate=params.learning_rate, random_state=seed)
    model.fit(
        interactions,
        user_features=user_features,
        item_features=item_features,
        sample_weight=interactions.tocoo(),
        epochs=params.n_epochs,
        num_threads=params.n_threads,
    )
    biases, vectors = model.get_item_representations(item_features)
    return LightFmEmbeddings(np.asarray(vectors, np.float32), np.asarray(biases, np.float32))
