"""The recommender: retrieve, featurise, rank; and how one is trained."""

from recsys.recommender.folded_user import FoldedUser
from recsys.recommender.model import Recommender
from recsys.recommender.profile import Recommendations, UserProfile, build_profile

__all__ = ["FoldedUser", "Recommendations", "Recommender", "UserProfile", "build_profile"]
