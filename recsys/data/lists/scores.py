"""The scales on which lists hold scores; their names are those of AniList's `ScoreFormat`."""

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Final


class ScoreFormat(StrEnum):
    """0..100, 0..10 in tenths, 0..10, one to five stars, one to three smileys; 0 is "not scored" in all of them."""

    Point100 = "POINT_100"
    Point10Decimal = "POINT_10_DECIMAL"
    Point10 = "POINT_10"
    Point5 = "POINT_5"
    Point3 = "POINT_3"


_TOP: Final = {
    ScoreFormat.Point100: 100,
    ScoreFormat.Point10Decimal: 10,
    ScoreFormat.Point10: 10,
    ScoreFormat.Point5: 5,
    ScoreFormat.Point3: 3,
}
# What AniList counts a frown, a straight face and a smile as when it computes means, out of 100.
_SMILEYS: Final = {1: 35.0, 2: 60.0, 3: 85.0}


def convert_score(score: float, score_format: ScoreFormat) -> int | None:
    """Convert a score > 0 into a rating 1..10, halves up; None for one that the scale does not have.

    >>> convert_score(85, ScoreFormat.Point100), convert_score(4, ScoreFormat.Point5)
    (9, 8)
    """
    if not 0 < score <= _TOP[score_format]:
        return None
    if score_format is ScoreFormat.Point3:
        tenths = _SMILEYS[max(1, math.floor(score + 0.5))] / 10
    else:
        tenths = score * 10 / _TOP[score_format]
    return max(1, math.floor(tenths + 0.5))


def select_score_format(scores: Sequence[float], declared: ScoreFormat) -> ScoreFormat:
    """Tell the scale of scores > 0: the declared one unless most scores contradict it.

    The largest score alone proves nothing: of a list on 0..10 with one score of 85, that score is wrong. AniList's
    queries can ask for tenths whatever the user's own format is, hence tenths where 0..100 is declared mean 0..10.
    """
    if not scores:
        return declared
    n_over_ten = sum(score > 10 for score in scores)
    if declared is ScoreFormat.Point100:
        in_tenths = n_over_ten == 0 and any(score != math.floor(score) for score in scores)
        return ScoreFormat.Point10Decimal if in_tenths else declared
    if 2 * sum(score <= _TOP[declared] for score in scores) >= len(scores):
        return declared
    return ScoreFormat.Point100 if 2 * n_over_ten > len(scores) else ScoreFormat.Point10Decimal
