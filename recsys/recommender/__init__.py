"""The recommender: retrieve, featurise, rank; and how one is trained."""

from recsys.recommender.model import Recommender
from recsys.recommender.profile import Recommendations, UserProfile

__all__ = ["Recommendations", "Recommender", "UserProfile"]
