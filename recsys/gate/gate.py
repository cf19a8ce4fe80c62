"""Decide whether a challenger takes over from the champion.

The unit is the user: both models are scored on the same test users of the same snapshot, on the same hidden ratings,
and a paired t-test with its interval compares the per-user differences of NDCG@10. Where several fifths of a user's
ratings are hidden in turn, the user's value is their mean: more of each user is seen, and there are no more users.
Three outcomes:

1. significantly better: promote;
2. not significantly different, and the whole interval above minus the margin: promote, because the challenger has
   learned from more users at no measurable loss;
3. otherwise (worse, or too uncertain to rule out a loss beyond the margin): keep.

**No creep.** Champions that are each promoted as not different could lose the margin again and again. A challenger
that is not better must therefore also lie within the same margin of the anchor (`recsys.gate.anchor`).

**Several criteria.** NDCG@10 decides alone; the anchor, the per-user error of the predicted ratings and the guardrails
can only veto. A promotion therefore needs all tests to agree, an intersection-union test, which keeps its level without
any correction (Berger, "Multiparameter hypothesis testing and acceptance sampling", Technometrics 1982): each veto can
lower the rate of wrong promotions, none can raise it. What vetoes cost is power, so the rating error vetoes only a
loss that is both significant and larger than its margin: with thousands of users any difference is significant.

**Error rates.** A challenger that is worse by more than the margin is promoted only if the two-sided interval at
level 1 - alpha lies wholly above minus the margin: at most alpha / 2 of the time.
"""

from dataclasses import asdict, dataclass, field

import numpy as np

from recsys.exceptions import DataContractError
from recsys.gate.decision import ANCHORED, Action, Criterion, Decision, Guardrail, Outcome
from recsys.gate.guardrails import GuardrailLimits, check_guardrails
from recsys.gate.intervals import PairedDifference, paired_difference
from recsys.gate.metrics import PerUser
from recsys.gate.scorecard import Scorecard

PRIMARY = "ndcg_at_10"
SECONDARY = "absolute_rating_error"

_VETOES = {ANCHORED: Outcome.Drifted, SECONDARY: Outcome.WorseRatings}
_PROMOTING = frozenset({Outcome.Better, Outcome.NotDifferent, Outcome.BeatsPopularity})


@dataclass(frozen=True)
class PromotionGate:
    """The rules, set before any data are seen.

    Parameters
    ----------
    alpha
        Two-sided level of the tests, in 0..1.
    margin
        Non-inferiority margin as a share of the champion's mean NDCG@10.
    rating_margin
        Rise of the rating error that is still tolerated when significant, as a share of the champion's mean.
    min_test_users
        With fewer pairs than this the gate keeps: the t-test relies on the central limit theorem.
    anchor_alpha
        Two-sided level of the comparison with the anchor, in 0..1. It is made with every challenger of a chain, so
        that luck has many tries; at the level of a single test one chain in ten would leave the margin.
    generated_users
        Whether users whom the simulation made up count as evidence.
    limits
        Guardrails.

    Raises
    ------
    DataContractError
        If a setting is out of its bounds.
    """

    alpha: float = 0.05
    margin: float = 0.01
    rating_margin: float = 0.01
    min_test_users: int = 30
    anchor_alpha: float = 0.01
    generated_users: bool = False
    limits: GuardrailLimits = field(default_factory=GuardrailLimits)

    def __post_init__(self) -> None:
        if not (0.0 < self.alpha < 1.0 and 0.0 < self.anchor_alpha < 1.0):
            raise DataContractError(f"alphas are {self.alpha} and {self.anchor_alpha}; they must lie between 0 and 1")
        if self.margin < 0 or self.rating_margin < 0:
            raise DataContractError(f"margins are {self.margin} and {self.rating_margin}; they must not be negative")
        if self.min_test_users < 2:
            raise DataContractError(f"min_test_users is {self.min_test_users}; a paired test needs at least 2")

    def to_dict(self) -> dict[str, float]:
        """Return all settings by name, those of the guardrails among them."""
        settings = asdict(self)
        return {**settings.pop("limits"), **settings}

    def decide(
        self,
        challenger: Scorecard,
        champion: Scorecard | None,
        popularity: Scorecard | None = None,
        *,
        anchor: Scorecard | None = None,
    ) -> Decision:
        """Compare a challenger with the champion or, where nothing was promoted yet, with popularity.

        Parameters
        ----------
        challenger, champion, popularity
            Scorecards of the same users in any order. `popularity` is looked at only without a champion: the first
            model must beat it with the whole interval above 0.
        anchor
            Of the version that drift is measured from; None where it is the champion itself.

        Raises
        ------
        DataContractError
            If there is neither a champion nor popularity to compare with.
        SchemaMismatchError
            If the users differ.
        """
        if not self.generated_users:
            challenger = challenger.without_generated()
            champion, popularity, anchor = (
                None if card is None else card.without_generated() for card in (champion, popularity, anchor)
            )
        if champion is not None:
            start = None if anchor is None else anchor.arrange(challenger.user_ids)
            return self._decide_against(challenger, champion.arrange(challenger.user_ids), start)
        if popularity is None:
            raise DataContractError(
                "there is no champion; give the scorecard of popularity to compare the first model with"
            )
        return self._decide_first(challenger, popularity.arrange(challenger.user_ids))

    def _decide_against(self, challenger: Scorecard, champion: Scorecard, anchor: Scorecard | None) -> Decision:
        difference = self._compare(challenger.ndcg, champion.ndcg)
        outcome, margin = self._evaluate_models(difference)
        criteria = [Criterion(PRIMARY, difference, margin, outcome in _PROMOTING, self._explain(outcome, difference))]
        if anchor is not None:
            criteria.append(self._evaluate_drift(challenger, anchor, outcome))
        rating = self._evaluate_ratings(challenger, champion)
        if rating is not None:
            criteria.append(rating)
        guardrails = self._check(challenger, champion)
        return self._conclude(outcome, "champion", criteria, guardrails)

    def _decide_first(self, challenger: Scorecard, popularity: Scorecard) -> Decision:
        difference = self._compare(challenger.ndcg, popularity.ndcg)
        outcome = Outcome.NotEnoughEvidence
        if difference is not None:
            outcome = Outcome.BeatsPopularity if difference.low > 0 else Outcome.NoBetterThanPopularity
        criterion = Criterion(
            PRIMARY, difference, 0.0, outcome in _PROMOTING, self._explain(outcome, difference, "popularity")
        )
        return self._conclude(outcome, "popularity", [criterion], self._check(challenger, None))

    def _compare(self, challenger: PerUser, reference: PerUser, alpha: float | None = None) -> PairedDifference | None:
        """Pair the users; None if fewer than `min_test_users` have a value from both."""
        evaluated = int((~np.isnan(challenger) & ~np.isnan(reference)).sum())
        if evaluated < self.min_test_users:
            return None
        return paired_difference(challenger, reference, level=1 - (self.alpha if alpha is None else alpha))

    def _evaluate_models(self, difference: PairedDifference | None) -> tuple[Outcome, float]:
        """Name the case on the primary metric, and the margin in its own units."""
        if difference is None:
            return Outcome.NotEnoughEvidence, 0.0
        margin = self.margin * abs(difference.champion_mean)
        if difference.p_value < self.alpha:
            return (Outcome.Better if difference.mean > 0 else Outcome.Worse), margin
        return (Outcome.NotDifferent if difference.low >= -margin else Outcome.Inconclusive), margin

    def _evaluate_drift(self, challenger: Scorecard, anchor: Scorecard, outcome: Outcome) -> Criterion:
        """Compare with the anchor under the same margin; what is better than the champion is never held back by it."""
        difference = self._compare(challenger.ndcg, anchor.ndcg, self.anchor_alpha)
        if difference is None:
            return Criterion(ANCHORED, None, 0.0, True, "too few test users have targets to compare with the anchor")
        margin = self.margin * abs(difference.champion_mean)
        within = difference.low >= -margin
        verdict = f"{'no' if within else 'cannot rule out a'} loss beyond the margin {margin:.4f}"
        sentence = f"since the anchor NDCG@10 changed by {_describe(difference)}: {verdict}"
        return Criterion(ANCHORED, difference, margin, within or outcome is Outcome.Better, sentence)

    def _evaluate_ratings(self, challenger: Scorecard, champion: Scorecard) -> Criterion | None:
        if challenger.rating_error is None or champion.rating_error is None:
            return None
        difference = self._compare(challenger.rating_error, champion.rating_error)
        if difference is None:
            return Criterion(SECONDARY, None, 0.0, True, "too few users rated their targets to compare rating errors")
        margin = self.rating_margin * difference.champion_mean
        passed = not (difference.p_value < self.alpha and difference.mean > margin)
        verdict = "no veto" if passed else f"significantly more than the {margin:.4f} allowed"
        sentence = f"rating error changed by {_describe(difference)}: {verdict}"
        return Criterion(SECONDARY, difference, margin, passed, sentence)

    def _check(self, challenger: Scorecard, champion: Scorecard | None) -> tuple[Guardrail, ...]:
        return check_guardrails(challenger, champion, self.limits, alpha=self.alpha, min_test_users=self.min_test_users)

    def _explain(self, outcome: Outcome, difference: PairedDifference | None, reference: str = "the champion") -> str:
        if difference is None:
            return f"not enough evidence: fewer than {self.min_test_users} test users have targets"
        margin = self.margin * abs(difference.champion_mean)
        verdict = {
            Outcome.Better: "significantly better than {0}",
            Outcome.NotDifferent: "not different from {0}, no loss beyond the margin {1:.4f}, and it knows more users",
            Outcome.Worse: "significantly worse than {0}",
            Outcome.Inconclusive: "too uncertain to rule out a loss beyond the margin {1:.4f} against {0}",
            Outcome.BeatsPopularity: "better than {0}",
            Outcome.NoBetterThanPopularity: "not shown to be better than {0}",
        }[outcome]
        return f"NDCG@10 changed by {_describe(difference)}: {verdict.format(reference, margin)}"

    def _conclude(
        self, outcome: Outcome, reference: str, criteria: list[Criterion], guardrails: tuple[Guardrail, ...]
    ) -> Decision:
        """Apply the vetoes in the order in which they are listed."""
        reason = criteria[0].sentence
        if outcome in _PROMOTING:
            vetoes = [(_VETOES[found.name], found.sentence) for found in criteria[1:] if not found.passed]
            vetoes += [
                (Outcome.GuardrailFailed, guardrail.sentence) for guardrail in guardrails if not guardrail.passed
            ]
            if vetoes:
                outcome = vetoes[0][0]
                reason = "; ".join([reason, *(f"but {sentence}" for _, sentence in vetoes)])
        action = Action.Promote if outcome in _PROMOTING else Action.Keep
        return Decision(action, outcome, reason, reference, tuple(criteria), guardrails, self.to_dict())


def _describe(difference: PairedDifference) -> str:
    level = f"{100 * difference.level:.3g} %"
    return (
        f"{difference.mean:+.4f} ({level} interval {difference.low:+.4f} to {difference.high:+.4f}, "
        f"p = {difference.p_value:.3g}, {difference.n} users)"
    )
