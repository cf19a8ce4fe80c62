"""What one model achieved on the test users: all that the gate looks at."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from recsys.exceptions import SchemaMismatchError
from recsys.gate.metrics import PerUser
from recsys.types import Ids, Mask, Positions


@dataclass(frozen=True)
class Scorecard:
    """Per-user results of one model on one frozen snapshot, and facts about the model as a whole.

    Parameters
    ----------
    user_ids
        Test users, each once, in any order, `(n_users,)`.
    ndcg
        NDCG@10 per user; NaN for a user without a relevant target, `(n_users,)`.
    rating_error
        Mean absolute error of the predicted ratings per user, or None where the model predicts no ratings.
    arrived
        Users who came after the first ingest, the slice of new users; None where it is not known.
    generated
        Users made up by the simulation; None where there are none. They are no evidence about real ones.
    facts
        By name: `catalog_coverage`, `popularity_share`, `short_list_share`, `empty_list_share`, `artifact_bytes`,
        `splits_per_list`, `feature_values_per_list`, `overlap_at_10` with the champion's lists. What was not measured
        is left out.

    Raises
    ------
    SchemaMismatchError
        If lengths differ or a user occurs twice.
    """

    user_ids: Ids
    ndcg: PerUser
    rating_error: PerUser | None = None
    arrived: Mask | None = None
    generated: Mask | None = None
    facts: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("ndcg", "rating_error", "arrived", "generated"):
            column = getattr(self, name)
            if column is not None and column.shape != self.user_ids.shape:
                raise SchemaMismatchError(f"{name} has shape {column.shape}, the user ids {self.user_ids.shape}")
        if np.unique(self.user_ids).size != self.user_ids.size:
            raise SchemaMismatchError("a test user occurs twice in a scorecard")

    def arrange(self, user_ids: Ids) -> "Scorecard":
        """Reorder the rows to these users.

        Raises
        ------
        SchemaMismatchError
            If the users are not exactly those of this scorecard: models are compared on the same users only.
        """
        if not np.array_equal(np.sort(user_ids), np.sort(self.user_ids)):
            missing = np.setxor1d(user_ids, self.user_ids)
            raise SchemaMismatchError(
                f"{missing.size} users (first: {missing[:1].tolist()}) were scored by one model only; "
                "score champion and challenger on the same snapshot"
            )
        return self._take(np.argsort(self.user_ids)[np.argsort(np.argsort(user_ids))])

    def without_generated(self) -> "Scorecard":
        """Leave out the generated users; facts about all lists together stay as they are."""
        return self if self.generated is None else self._take(np.flatnonzero(~self.generated))

    def _take(self, rows: Positions) -> "Scorecard":
        columns = {"rating_error": self.rating_error, "arrived": self.arrived, "generated": self.generated}
        taken: dict[str, Any] = {name: None if column is None else column[rows] for name, column in columns.items()}
        return replace(self, user_ids=self.user_ids[rows], ndcg=self.ndcg[rows], **taken)
