"""Let `mlflow.pyfunc.load_model` open a version: it names this module and looks for `_load_pyfunc`.

A version holds nothing but open formats, so that no pickle is read on this way either.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recsys.exceptions import DataContractError
from recsys.recommender import Recommender, UserProfile


class RecommenderModel:
    """A recommender behind MLflow's `predict`: one row per user in, one row of lists out."""

    def __init__(self, recommender: Recommender) -> None:
        self._recommender = recommender

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Recommend to each row; columns as in the version's signature.

        Parameters
        ----------
        model_input
            `item_ids` and `ratings`, two lists of the same length per row; titles outside the catalog are ignored.
        params
            `k`, the length of the lists.

        Raises
        ------
        DataContractError
            If the lists of a row differ in length.
        """
        k = int((params or {}).get("k", 10))
        rows = []
        for row, (item_ids, ratings) in enumerate(zip(model_input["item_ids"], model_input["ratings"], strict=True)):
            if len(item_ids) != len(ratings):
                raise DataContractError(
                    f"row {row} has {len(item_ids)} item_ids and {len(ratings)} ratings; give one rating for each item"
                )
            rows.append(self._recommend(item_ids, ratings, k))
        return pd.DataFrame(rows, columns=["item_ids", "scores", "predicted_ratings"])

    def _recommend(self, item_ids: list[int], ratings: list[float], k: int) -> tuple[list[int], ...]:
        ids, values = np.asarray(item_ids, dtype=np.int64), np.asarray(ratings, dtype=np.float32)
        known = self._recommender.catalog.contains(ids)
        found = self._recommender.recommend(UserProfile(ids[known], values[known]), k=k)
        return found.item_ids.tolist(), found.scores.tolist(), found.predicted_ratings.tolist()


def _load_pyfunc(path: str) -> RecommenderModel:
    return RecommenderModel(Recommender.load(Path(path), standalone=False))
