"""Three forms of EASE in one score, weighed by how long a history is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Final, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recsys.data.catalog import Catalog
from recsys.exceptions import NotFittedError
from recsys.features.pairs import PairScores
from recsys.retrieval.base import State, find_nth_best, map_values, sparse_from_state, sparse_to_state
from recsys.retrieval.content_prior import compute_resemblance, extend_weights
from recsys.retrieval.item_item import (
    CHUNK,
    Ease,
    FoldedSum,
    Regression,
    build_regression,
    compute_sums,
    keep_largest,
)
from recsys.retrieval.leave_one_out import Folded, find_places
from recsys.retrieval.rating_sums import EVIDENCE, Products, RatingCounts
from recsys.types import Floats, Ids, Mask, Positions, RatingMatrix

# A score counts in units of that of the title which would stand in this place.
PLACE: Final = 10
_PARTS: Final = ("short", "sparse")
_MEANS: Final = "mean_evidence"


@dataclass
class EaseMixture(Ease):
    """The mean of three forms of EASE, weighed by the length of the history.

    The first form moves weight from titles that many rated to titles that few rated, and compares a history with the
    mean history, so that it says what is particular about a user. The second, with more dropout, suits short histories.
    The third is solved again for the few titles that matter most to each, without the shrinkage that the others bring,
    and suits long histories. Each is scaled by its tenth best unseen score.

    Parameters
    ----------
    exponent
        Weight of title i for title j times `(n_j / n_i) ** exponent`, n being the numbers of ratings.
    centring
        Share 0..1 of the score of the mean history that is subtracted.
    short_dropout, short_kept, short_length
        Dropout and weights kept of the second form; at this many ratings it counts half.
    sparse_kept, sparse_regularisation, sparse_dropout, sparse_length
        The same of the third form, with its regularisation.
    prior_share, prior_neighbours, prior_kept
        A title that nobody rated gets this share of the weights of so many titles that it resembles, and so many of
        them are kept. Sources: Jeunen, Van Balen & Goethals (RecSys 2020) for side information in EASE; 0 for none.
    """

    exponent: float = 0.15
    centring: float = 0.4
    short_dropout: float = 0.5
    short_kept: int = 1500
    short_length: float = 40.0
    sparse_kept: int = 60
    sparse_regularisation: float = 25.0
    sparse_dropout: float = 0.1
    sparse_length: float = 60.0
    prior_share: float = 0.5
    prior_neighbours: int = 20
    prior_kept: int = 100
    name: ClassVar[str] = "ease"
    parts_: dict[str, RatingMatrix] = field(default_factory=dict, init=False, repr=False)
    means_: dict[str, Floats] = field(default_factory=dict, init=False, repr=False)

    def fit_sums(self, counts: RatingCounts, products: Products, franchises: Ids, catalog: Catalog) -> Self:
        """Solve the regression twice as a whole, and once for the largest weights of every title."""
        regression = build_regression(self, counts, products, franchises)
        popularity = np.maximum(regression.n_ratings, 1) ** self.exponent
        scaled = regression.solve(self.regularisation, self.dropout)
        for start in range(0, len(scaled), CHUNK):
            rows = slice(start, start + CHUNK)
            scaled[rows] *= popularity[None, :] / popularity[rows, None]
        self.weights_ = regression.expand(keep_largest(scaled, self.n_kept))
        sparse = regression.expand(self._solve_again(regression, scaled, popularity))
        del scaled  # as large as all weights of the next form
        short = keep_largest(regression.solve(self.regularisation, self.short_dropout), self.short_kept)
        self.parts_ = {"short": regression.expand(short), "sparse": sparse}
        self._extend(regression, np.flatnonzero(counts.n_ratings == 0), catalog)
        self._set_means(counts.mean_evidence)
        return self

    def _extend(self, regression: Regression, unrated: Positions, catalog: Catalog) -> None:
        """Give weights to the titles that nobody rated."""
        frequent = regression.frequent
        if not self.prior_share or not len(unrated) or not len(frequent) or self.weights_ is None:
            return
        resemblance = compute_resemblance(catalog, regression.franchises, frequent, unrated, self.prior_neighbours)
        how = (resemblance, frequent, unrated, self.prior_kept, self.prior_share)
        self.weights_ = extend_weights(self.weights_, *how)
        self.parts_ = {name: extend_weights(weights, *how) for name, weights in self.parts_.items()}

    def _solve_again(
        self, regression: Regression, weights: npt.NDArray[np.float64], popularity: npt.NDArray[np.float64]
    ) -> RatingMatrix:
        """Solve for each title the regression on those of the largest weights alone, CSR `(n_frequent, n_frequent)`."""
        n_titles = len(weights)
        if not n_titles:
            return csr_matrix((0, 0), dtype=np.float32)
        n_kept = min(self.sparse_kept, n_titles)
        penalised = regression.penalise(self.sparse_regularisation, self.sparse_dropout)
        entries = []
        for start in range(0, n_titles, CHUNK):
            columns = np.arange(start, min(start + CHUNK, n_titles))
            rows = np.argpartition(-np.abs(weights[:, columns]), n_kept - 1, axis=0)[:n_kept].T
            values = regression.targets[rows, columns[:, None]]
            solved = np.linalg.solve(penalised[rows[:, :, None], rows[:, None, :]], values[..., None])[..., 0]
            solved *= popularity[columns][:, None] / popularity[rows]
            solved[rows == columns[:, None]] = 0.0
            entries.append((solved.astype(np.float32).ravel(), rows.ravel(), np.repeat(columns, n_kept)))
        values, rows, columns = (np.concatenate(part) for part in zip(*entries, strict=True))
        held = values != 0
        return csr_matrix((values[held], (rows[held], columns[held])), shape=(n_titles, n_titles))

    def _set_means(self, evidence: Floats) -> None:
        """Keep the mean history, and what it scores in the forms that are compared with it."""
        forms = {"weights": self.weights_, "sparse": self.parts_["sparse"]}
        self.means_ = {_MEANS: evidence}
        self.means_ |= {name: np.asarray(evidence @ form, dtype=np.float32).ravel() for name, form in forms.items()}

    def score(self, history: RatingMatrix) -> Floats:
        """Score the whole catalog for each row of a history, `(n_users, n_items)`."""
        if self.weights_ is None:
            raise NotFittedError(self)
        if not self.parts_:
            # A version from before there was a mixture.
            return super().score(history)
        evidence = map_values(history, EVIDENCE)
        sums = {name: compute_sums(evidence, form) for name, form in self._forms.items()}
        seen = np.zeros(history.shape, dtype=np.bool_)
        seen[np.repeat(np.arange(history.shape[0]), np.diff(history.indptr)), history.indices] = True
        return self.mix(sums, np.asarray(evidence.sum(axis=1), dtype=np.float32), np.diff(history.indptr), seen)

    @property
    def _forms(self) -> dict[str, RatingMatrix]:
        assert self.weights_ is not None  # noqa: S101 - fitted, since it has parts
        return {"weights": self.weights_, **self.parts_}

    def mix(self, sums: Mapping[str, Floats], totals: Floats, lengths: Positions, seen: Mask) -> Floats:
        """Mix the scores of the three forms, `(n_users, n_items)`.

        Parameters
        ----------
        sums
            Scores of each form before they are centred and scaled, `(n_users, n_items)` each.
        totals
            Sum of the evidence of each history, `(n_users, 1)`.
        lengths
            Ratings of each history, `(n_users,)`.
        seen
            `(n_users, n_items)`.
        """
        total, (one, short, sparse) = self.centring * totals, self.share(lengths)[..., None]
        mixed = one * _scale(sums["weights"] - total * self.means_["weights"], seen)
        mixed += short * _scale(sums["short"], seen)
        mixed += sparse * _scale(sums["sparse"] - total * self.means_["sparse"], seen)
        return np.asarray(mixed, dtype=np.float32)

    def share(self, lengths: Positions) -> Floats:
        """Weigh the three forms by the lengths of histories, `(3, n_users)`."""
        length = lengths.astype(np.float32)
        short = 1 / (1 + (length / self.short_length) ** 2)
        sparse = length**2 / (length**2 + self.sparse_length**2)
        return np.stack([1 - short, short, sparse])

    def fold(self, history: RatingMatrix) -> Folded:
        """Read a history, CSR `(1, n_items)`."""
        if not self.parts_:
            return super().fold(history)
        evidence = map_values(history, EVIDENCE)
        return FoldedMixture(self, history, {name: FoldedSum(evidence, form) for name, form in self._forms.items()})

    def state(self) -> State:
        """Return the weights of all forms and the mean history."""
        state = dict(super().state())
        for name, weights in self.parts_.items():
            state |= {f"{name}_{key}": values for key, values in sparse_to_state(weights).items()}
        return state | ({_MEANS: self.means_[_MEANS]} if self.parts_ else {})

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild from the weights; those of a version without a mixture are a plain EASE."""
        model = cls()
        model.weights_ = sparse_from_state(state)
        if _MEANS in state:
            model.parts_ = {
                name: sparse_from_state({key: state[f"{name}_{key}"] for key in ("data", "indices", "indptr", "shape")})
                for name in _PARTS
            }
            model._set_means(state[_MEANS])
        return model


@dataclass(frozen=True)
class FoldedMixture:
    """A history as the three forms have read it."""

    model: EaseMixture
    history: RatingMatrix
    forms: Mapping[str, FoldedSum]

    @cached_property
    def _total(self) -> Floats:
        evidence = self.forms["weights"].evidence
        return np.asarray(evidence.sum(axis=1), dtype=np.float32)

    @cached_property
    def _seen(self) -> Mask:
        seen = np.zeros(self.history.shape, dtype=np.bool_)
        seen[0, self.history.indices] = True
        return seen

    @cached_property
    def scores(self) -> Floats:
        """Scores of the whole history, `(1, n_items)`."""
        sums = {name: form.scores for name, form in self.forms.items()}
        return self.model.mix(sums, self._total, np.diff(self.history.indptr), self._seen)

    def score_without(self, removed: Positions) -> Floats:
        """Remove each title from every form and mix them again, `(n_removed, n_items)`."""
        held = find_places(self.history, removed) >= 0
        seen = np.repeat(self._seen, len(removed), axis=0)
        seen[np.arange(len(removed)), removed] = False
        sums = {name: form.score_without(removed) for name, form in self.forms.items()}
        return self.model.mix(sums, self._total - self._weigh(removed)[:, None], self.history.nnz - held, seen)

    def score_pairs_without(self, removed: Positions, rows: Positions, columns: Positions) -> PairScores:
        """Remove each title from every form, mix them again and select pairs: the same bits, in fewer steps."""
        from recsys.retrieval.mixture_sums import Form, Removal, score_pairs_without  # compiles

        evidence, n_items = self._weigh(removed), self.history.shape[1]
        totals = self.model.centring * (self._total[0] - evidence)
        shares = self.model.share(self.history.nnz - (find_places(self.history, removed) >= 0))
        nothing = np.zeros(n_items, dtype=np.float32)
        forms = [
            Form(form.scores[0], self.model.means_.get(name, nothing), form.weights)
            for name, form in self.forms.items()
        ]
        removal = Removal(removed, evidence, totals, shares)
        return score_pairs_without(forms, removal, self._seen[0], min(PLACE, n_items), rows, columns)

    def _weigh(self, removed: Positions) -> Floats:
        """Return the evidence of some titles, `(n_removed,)`; 0 for what the history does not hold."""
        evidence = self.forms["weights"].evidence
        places = find_places(evidence, removed)
        return np.array([evidence.data[place] if place >= 0 else 0.0 for place in places], dtype=np.float32)


def _scale(scores: Floats, seen: Mask) -> Floats:
    """Divide the scores of each user by the size of the tenth best of an unseen title."""
    tenth = find_nth_best(np.where(seen, np.float32(-np.inf), scores), min(PLACE, scores.shape[1]))[:, None]
    sizes = np.where(np.isfinite(tenth), np.abs(tenth), np.float32(1))
    return np.asarray(scores / np.maximum(sizes, np.float32(1e-6)), dtype=np.float32)
