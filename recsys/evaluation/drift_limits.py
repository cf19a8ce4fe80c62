"""Limits of drift; in a module of their own, because command lines read them before anything heavy is imported."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DriftLimits:
    """Limits beyond which a model no longer fits the users.

    Parameters
    ----------
    psi_shifting, psi_drifted
        Population stability indices.
    unknown_share
        Share 0..1 of the ratings that are of items the model does not know.
    age_days
        Days since the last day of the training data.
    min_users
        With fewer recent users the distributions have no verdict.
    """

    psi_shifting: float = 0.1
    psi_drifted: float = 0.25
    unknown_share: float = 0.05
    age_days: int = 35
    min_users: int = 50
