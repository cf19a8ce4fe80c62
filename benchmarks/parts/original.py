"""How the original My Otaku Friend computes recommendations, on current libraries.

All titles are joined to one user's features in pandas, LightGBM predicts every pair, the best thousand are compared
with the mean vector of the user's favourites by scikit-learn, and a title is found by comparing it with every other.
"""

from dataclasses import dataclass

import jellyfish
import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics.pairwise import cosine_similarity

from recsys.types import Floats

N_KEPT = 1000
N_SHOWN = 10
LIKED = 7
MIN_LIKENESS = 0.9


@dataclass(frozen=True)
class Original:
    """What the original keeps in memory.

    Parameters
    ----------
    titles
        One row per title: `anime_id`, `name` and the title's vector.
    users
        One row per user: `user_id` and the user's features.
    booster
        Predicts the rating of a pair from the user's features and the title's vector.
    n_threads
        For LightGBM.
    """

    titles: pd.DataFrame
    users: pd.DataFrame
    booster: lgb.Booster
    n_threads: int = 1

    def join(self, user_id: int) -> pd.DataFrame:
        """Put the features of a user beside every title."""
        user = self.users[self.users["user_id"] == user_id]
        pairs = self.titles.drop(columns="name").assign(user_id=user_id)
        return user.merge(pairs, on="user_id")

    def recommend(self, user_id: int, history: pd.DataFrame) -> pd.DataFrame:
        """Answer for a user with a history of `anime_id` and `rating`."""
        pairs = self.join(user_id)
        features = pairs.drop(columns=["user_id", "anime_id"])
        pairs["predicted"] = self.booster.predict(features, num_threads=self.n_threads)
        best = pairs[~pairs["anime_id"].isin(history["anime_id"])].nlargest(N_KEPT, "predicted")
        if history["rating"].max() < LIKED:
            return best.head(N_SHOWN)
        vectors = [name for name in self.titles.columns if name.startswith("vector_")]
        favourites = history[history["rating"] == history["rating"].max()]
        taste = self.titles[self.titles["anime_id"].isin(favourites["anime_id"])][vectors].mean().to_numpy()
        best = best.assign(likeness=cosine_similarity(best[vectors], taste[None, :])[:, 0])
        return best.nlargest(N_SHOWN, "likeness").sort_values("predicted", ascending=False)

    def find_similar(self, anime_id: int) -> pd.DataFrame:
        """Compare a title with all others."""
        vectors = self.titles.drop(columns=["anime_id", "name"])
        likeness = cosine_similarity(vectors[self.titles["anime_id"] == anime_id], vectors)[0]
        return self.titles[["anime_id", "name"]].assign(likeness=likeness).nlargest(N_SHOWN + 1, "likeness")[1:]

    def find_title(self, text: str) -> str | None:
        """Find the title that looks most like a text, by Jaro-Winkler similarity above 0.9."""
        likeness = np.array([jellyfish.jaro_winkler_similarity(text, name) for name in self.titles["name"]])
        best = int(np.argmax(likeness))
        return str(self.titles["name"].iat[best]) if likeness[best] > MIN_LIKENESS else None


def build_original(
    titles: pd.DataFrame, vectors: Floats, users: pd.DataFrame, booster: lgb.Booster, n_threads: int = 1
) -> Original:
    """Put the tables together as the original stored them.

    Parameters
    ----------
    titles
        `anime_id` and `name`.
    vectors
        `(n_titles, n_dimensions)`.
    users
        `user_id` and the user's features.
    """
    columns: dict[str, npt.NDArray[np.float32]] = {
        f"vector_{place}": vectors[:, place] for place in range(vectors.shape[1])
    }
    return Original(pd.concat([titles, pd.DataFrame(columns)], axis=1), users, booster, n_threads)
