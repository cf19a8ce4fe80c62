"""Retrieve, featurise, rank: the one deployable artefact."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import vstack

from recsys.columns import ItemColumns
from recsys.data.catalog import Catalog
from recsys.data.interactions import POSITIVE_RATING
from recsys.exceptions import ArtifactError, OtherFormatError
from recsys.features.pairs import Pairs
from recsys.features.ranking_features import compute_ranking_features
from recsys.files import read_json
from recsys.ranking.diversity import select_diverse
from recsys.ranking.ranker import Ranker
from recsys.recommender.folded_user import FoldedUser
from recsys.recommender.list_rules import (
    PLAIN,
    ListOptions,
    agree,
    find_disliked,
    find_next,
    find_watched,
    keep_first,
    likes_nothing,
    rank_by_popularity,
    shift_by_popularity,
)
from recsys.recommender.profile import Recommendations, UserProfile
from recsys.recommender.retriever import RANKER, Retriever, find_allowed
from recsys.retrieval.base import CandidateGenerator, select_top
from recsys.retrieval.leave_one_out import fold
from recsys.retrieval.registry import MODELS
from recsys.types import Floats, Ids, ItemId, Mask, Positions, RatingMatrix

if TYPE_CHECKING:
    from recsys.retrieval.sketch import Sketch

FORMAT: Final = 4
# A list that is not the order of the scores alone is picked from at least so many candidates, and so many times its
# length.
MIN_POOL: Final = 100
POOL_FACTOR: Final = 5
MAX_PER_MODEL: Final = 10_000  # candidates of a first-stage model


BATCH_LISTS: Final = 16  # that are made together: bounds their dense scores


@dataclass(frozen=True)
class WantedList:
    """A list that a user wants; parameters as in `Recommender.recommend`."""

    profile: UserProfile
    k: int = 10
    allowed: Mask | None = None
    options: ListOptions = PLAIN


@dataclass(frozen=True)
class Recommender:
    """One model version; immutable, safe to share among threads.

    Parameters
    ----------
    sketch
        Of the vectors that `similar_items` compares; without one they are all read.
    """

    retriever: Retriever
    ranker: Ranker
    sketch: "Sketch | None" = field(default=None, repr=False, compare=False)

    @property
    def catalog(self) -> Catalog:
        """The titles this version knows."""
        return self.retriever.items.catalog

    def accelerate(self) -> "Recommender":
        """Return the same recommender, many times faster after seconds of preparation."""
        # Compiled on import, which takes seconds that ranking a few users does not need.
        from recsys.retrieval.sketch import Sketch

        sketch = Sketch.of(self.retriever.items.join_units(np.arange(len(self.catalog))))
        fast = replace(self, ranker=self.ranker.accelerate(), sketch=sketch)
        fast.cold_start_ratings.setflags(write=False)
        return fast

    def fold(self, profile: UserProfile) -> FoldedUser:
        """Read a profile once for several questions about the same user."""
        return FoldedUser.of(profile, self.catalog, self.retriever.first_stage)

    def recommend(
        self,
        profile: UserProfile | FoldedUser,
        *,
        k: int = 10,
        allowed: Mask | None = None,
        algorithm: str = RANKER,
        options: ListOptions = PLAIN,
        candidates: Positions | None = None,
    ) -> Recommendations:
        """Recommend titles that the user has not watched, best first.

        Parameters
        ----------
        k
            Length of the list; shorter only if filters, options and history leave fewer titles.
        allowed
            `(n_items,)`; False for filtered titles.
        algorithm
            "ranker", or one of the retriever's `generators` alone.
        options
            Order of seasons, popularity and diversity; with diversity the scores are the values of `select_diverse`.
        candidates
            Positions of the only titles to rank; None for all.

        Raises
        ------
        UnknownAlgorithmError
            If this version does not hold the algorithm.
        """
        user = profile if isinstance(profile, FoldedUser) else self.fold(profile)
        history, tastes = user.history, user.tastes
        mask = self.restrict(user.profile, allowed, options, candidates)
        depth = _choose_depth(k, options)
        if algorithm == RANKER:
            pairs = self._retrieve(user, mask, candidates)
            features = self.featurise(pairs)
            return self._list(pairs, features, self._score_pairs(pairs, features), k, mask, options)
        top = self._rank_alone(self.retriever.get_generator(algorithm), history, tastes, depth, mask)
        pairs = self.retriever.describe(history, tastes, [top[0][:0]], user.scores)
        positions, values = self._choose(top, history, k, mask, options)
        return Recommendations(self.catalog.item_ids[positions], values, self._rate_again(pairs, None, positions))

    def recommend_many(self, wanted: Sequence[WantedList]) -> list[Recommendations]:
        """Make the lists of several users by the ranker, each as `recommend` does; faster than one after the other."""
        found: list[Recommendations] = []
        for start in range(0, len(wanted), BATCH_LISTS):
            found += self._recommend_batch(wanted[start : start + BATCH_LISTS])
        return found

    def _recommend_batch(self, wanted: Sequence[WantedList]) -> list[Recommendations]:
        history = vstack([one.profile.to_history(self.catalog) for one in wanted], format="csr")
        tastes = np.concatenate([one.profile.to_tastes(self.catalog) for one in wanted])
        masks = np.stack([self.restrict(one.profile, one.allowed, one.options, None) for one in wanted])
        pairs = self.retriever.retrieve(history, tastes, masks)
        features = self.featurise(pairs)
        scores, ends = self._score_pairs(pairs, features), np.cumsum(pairs.counts)
        found = []
        for row, one in enumerate(wanted):
            part = slice(ends[row] - pairs.counts[row], ends[row])
            own = pairs.select(row)
            found.append(self._list(own, features[part], scores[part], one.k, masks[row], one.options))
        return found

    def _list(
        self, pairs: Pairs, features: Floats, scores: Floats, k: int, allowed: Mask, options: ListOptions
    ) -> Recommendations:
        """Make the list of one user from the scores of the candidates."""
        top = self._order(pairs, scores, _choose_depth(k, options), allowed)
        if likes_nothing(pairs.history, POSITIVE_RATING):
            top = self._agree(top, pairs, features)
        positions, values = self._choose(top, pairs.history, k, allowed, options)
        return Recommendations(self.catalog.item_ids[positions], values, self._rate_again(pairs, features, positions))

    def restrict(
        self, profile: UserProfile, allowed: Mask | None, options: ListOptions, candidates: Positions | None
    ) -> Mask:
        """Return which titles may be listed after the order of seasons and the user's dislikes, `(n_items,)`."""
        order, catalog = self.retriever.items.season_order, self.catalog
        mask = np.ones(len(catalog), dtype=np.bool_) if allowed is None else allowed.copy()
        if candidates is not None:
            mask &= np.isin(np.arange(len(catalog)), candidates)
        watched = find_watched(profile, catalog)
        mask &= ~watched
        if options.seasons == "next":
            mask &= find_next(watched, order)
        if options.without_disliked:
            mask &= ~find_disliked(profile, catalog, order)
        return mask

    def _retrieve(self, user: FoldedUser, allowed: Mask, candidates: Positions | None) -> Pairs:
        if candidates is None:
            return self.retriever.retrieve(user.history, user.tastes, allowed, user.scores)
        return self.retriever.describe(user.history, user.tastes, [np.flatnonzero(allowed)], user.scores)

    def _agree(self, top: tuple[Positions, Floats], pairs: Pairs, features: Floats) -> tuple[Positions, Floats]:
        """Order a list of a user who likes nothing by score and predicted rating."""
        positions, scores = top
        ratings = self._rate_again(pairs, features, positions)
        agreed = agree(scores, ratings, float(pairs.means[0]))
        order = np.lexsort((positions, -agreed))
        return positions[order], agreed[order]

    def _choose(
        self,
        top: tuple[Positions, Floats],
        history: RatingMatrix,
        k: int,
        allowed: Mask | None,
        options: ListOptions,
    ) -> tuple[Positions, Floats]:
        """Choose k of a long list: by popularity, each franchise once, with variety."""
        positions, scores = top
        order = self.retriever.items.season_order
        if options.popularity:
            scores = shift_by_popularity(
                scores, self.popularity_ranks[positions], self._likes[positions], options.popularity
            )
            best = np.lexsort((positions, -scores))
            positions, scores = positions[best], scores[best]
        if options.once_each:
            first = keep_first(positions, order)
            positions, scores = positions[first], scores[first]
        diverse = self.diversify(positions, scores, diversity=options.diversity, k=k)
        return self._fill(diverse, history, None, k, allowed, once_each=options.once_each)

    @cached_property
    def popularity_ranks(self) -> npt.NDArray[np.float64]:
        """Popularity rank of each title by members, 1 for the most popular, `(n_items,)`."""
        return rank_by_popularity(self.catalog.items[ItemColumns.Members].to_numpy(dtype=np.float64), self._likes)

    @cached_property
    def _likes(self) -> Floats:
        """Training users who like each title, `(n_items,)`."""
        empty = UserProfile().to_history(self.catalog)
        return np.asarray(np.expm1(np.maximum(self.retriever.score_popularity(empty)[0], 0)), dtype=np.float32)

    def _rank_alone(
        self, generator: CandidateGenerator, history: RatingMatrix, tastes: Floats, depth: int, allowed: Mask | None
    ) -> tuple[Positions, Floats]:
        """Rank for one user by one model, titles of a stated genre first."""
        scores, items = generator.score(history), self.retriever.items
        mask = find_allowed(history, tastes, items, allowed)
        if generator.personal:
            best = select_top(scores, mask & (scores != 0), depth)[0]
            return self._fill((best, scores[0, best]), history, tastes[0], depth, allowed)
        order = np.argsort(-scores[0], kind="stable")
        order = order[find_allowed(history, np.zeros_like(tastes), items, allowed)[0, order]]
        order = order[np.argsort(~mask[0, order], kind="stable")][:depth]
        return order, scores[0, order]

    def rank(
        self, history: RatingMatrix, tastes: Floats | None = None, *, k: int = 10, allowed: Mask | None = None
    ) -> list[tuple[Positions, Floats]]:
        """Rank the catalog for many users at once.

        Parameters
        ----------
        history
            CSR `(n_users, n_items)` of ratings 1..10.

        Returns
        -------
        For each user positions and scores, best first.
        """
        if tastes is None:
            tastes = np.zeros((history.shape[0], len(self.catalog.genres)), dtype=np.float32)
        pairs = self.retriever.retrieve(history, tastes, allowed)
        parts = np.split(self._score_pairs(pairs, self.featurise(pairs)), np.cumsum(pairs.counts)[:-1])
        ranked = [self._order(pairs.select(row), scores, k, allowed) for row, scores in enumerate(parts)]
        return [self._fill(top, history[row], None, k, allowed) for row, top in enumerate(ranked)]

    def featurise(self, pairs: Pairs) -> Floats:
        """Compute the features of pairs as the ranker reads them, `(n_pairs, n_features)`."""
        schema, features = compute_ranking_features(pairs, self.ranker.schema.groups)
        self.ranker.schema.check(schema.names)
        return features

    def _score_pairs(self, pairs: Pairs, features: Floats) -> Floats:
        """Score pairs for ordering, `(n_pairs,)`: by the trees, or without a history by popularity and genres."""
        known = pairs.lengths[pairs.rows] > 0
        if known.all():
            return self.ranker.score(features)
        scores = np.add(*self.retriever.score_cold_start(pairs))
        if known.any():
            scores[known] = self.ranker.score(features[known])
        return np.asarray(scores)

    def _order(self, pairs: Pairs, scores: Floats, k: int, allowed: Mask | None) -> tuple[Positions, Floats]:
        """Order the candidates of one user and fill the list up."""
        positions = pairs.candidates[0]
        order = np.lexsort((positions, -scores))[:k]
        return self._fill((positions[order], scores[order]), pairs.history, pairs.tastes[0], k, allowed)

    def _fill(
        self,
        top: tuple[Positions, Floats],
        history: RatingMatrix,
        tastes: Floats | None,
        k: int,
        allowed: Mask | None,
        *,
        once_each: bool = False,
    ) -> tuple[Positions, Floats]:
        """Lengthen a list that is too short by the most popular of what is left, of any genre without tastes.

        With `once_each` no title of a franchise is added that is in the list.
        """
        positions, scores = top
        if len(positions) >= k:
            return top
        wanted = np.zeros(len(self.catalog.genres), dtype=np.float32) if tastes is None else tastes
        mask = find_allowed(history, wanted[None], self.retriever.items, allowed)[0]
        mask[positions] = False
        popularity = self.retriever.score_popularity(history)[0]
        rest = np.flatnonzero(mask)
        rest = rest[np.lexsort((rest, -popularity[rest]))]
        if once_each:
            numbers = self.retriever.items.franchises
            rest = rest[~np.isin(numbers[rest], numbers[positions])]
            rest = rest[keep_first(rest, self.retriever.items.season_order)]
        rest = rest[: k - len(positions)]
        floor = scores.min(initial=0.0)
        return np.concatenate([positions, rest]), np.concatenate(
            [scores, (floor - 1 - np.arange(len(rest))).astype(np.float32)]
        )

    def diversify(self, positions: Positions, scores: Floats, *, diversity: float, k: int) -> tuple[Positions, Floats]:
        """Pick k of some titles, best first, as `select_diverse` does, among so many that there is a choice."""
        depth = _choose_depth(k, ListOptions(diversity=diversity))
        positions, scores = positions[:depth], scores[:depth]
        items = self.retriever.items
        vectors = items.join_units(positions)
        picked, values = select_diverse(scores, vectors, items.franchises[positions], diversity=diversity, k=k)
        return positions[picked], values

    def _rate_again(self, pairs: Pairs, features: Floats | None, positions: Positions) -> Floats:
        """Predict ratings of some positions, from the features of all candidates where they are among them."""
        ratings = np.empty(len(positions), dtype=np.float32)
        candidates = pairs.candidates[0]
        places = np.searchsorted(candidates, positions)
        known = np.isin(positions, candidates)
        if features is not None and known.any():
            ratings[known] = self.ranker.predict_ratings(features[places[known]])
        else:
            known[:] = False
        if not known.all():
            others = self.featurise(replace(pairs, candidates=[positions[~known]]))
            ratings[~known] = self.ranker.predict_ratings(others)
        return ratings

    def predict_ratings(self, profile: UserProfile, item_ids: Ids) -> Floats:
        """Predict the user's ratings of these titles, `(n,)`, 1..10."""
        history, tastes = profile.to_history(self.catalog), profile.to_tastes(self.catalog)
        return self.rate(history, tastes, [self.catalog.positions(item_ids)])

    def predict_hidden(self, profile: UserProfile | FoldedUser, item_ids: Ids) -> Floats:
        """Predict the ratings of titles of the history itself, each from the rest of the history, `(n,)`."""
        user = profile if isinstance(profile, FoldedUser) else self.fold(profile)
        positions = self.catalog.positions(item_ids)
        if not len(positions):
            return np.empty(0, dtype=np.float32)
        pairs = self.retriever.describe_without(user, positions, list(positions[:, None]))
        return self.ranker.predict_ratings(self.featurise(pairs))

    def rate(self, history: RatingMatrix, tastes: Floats, candidates: list[Positions]) -> Floats:
        """Predict ratings of given positions for many users, flat in their order."""
        pairs = self.retriever.describe(history, tastes, candidates)
        return self.ranker.predict_ratings(self.featurise(pairs))

    def score(
        self, history: RatingMatrix, tastes: Floats, candidates: Sequence[Positions], algorithm: str = RANKER
    ) -> Floats:
        """Score given positions for many users by one algorithm, flat in their order.

        Lists are in the order of these scores, but for those of the ranker where there is no history; see
        `Retriever.score_cold_start`.
        """
        if algorithm == RANKER:
            return self.ranker.score(self.featurise(self.retriever.describe(history, tastes, candidates)))
        scores = self.retriever.get_generator(algorithm).score(history)
        return np.concatenate([row[positions] for row, positions in zip(scores, candidates, strict=True)])

    def score_without(
        self,
        user: FoldedUser,
        positions: Positions,
        removed: Positions,
        candidates: Sequence[Positions],
        algorithm: str = RANKER,
    ) -> tuple[Floats, Floats]:
        """Score positions for a user, and for each title that is removed from the history other candidates.

        Returns
        -------
        The scores of `positions`, and those of the candidates, flat in their order.
        """
        if algorithm == RANKER:
            whole = self.retriever.describe(user.history, user.tastes, [positions], user.scores)
            without = self.retriever.describe_without(user, removed, candidates)
            return self.ranker.score(self.featurise(whole)), self.ranker.score(self.featurise(without))
        folded = fold(self.retriever.get_generator(algorithm), user.history)
        rows = zip(folded.score_without(removed), candidates, strict=True)
        return folded.scores[0, positions], np.concatenate([row[chosen] for row, chosen in rows])

    def similar_items(
        self,
        item_id: ItemId,
        *,
        k: int = 10,
        allowed: Mask | None = None,
        options: ListOptions = PLAIN,
    ) -> Recommendations:
        """Find titles like a given one, nearest first.

        The score is the mean of two cosines, of LightFM and of synopsis vectors; a part that is missing counts 0.
        With diversity the scores are the values of `select_diverse`. In the order of seasons the given title and the
        seasons before it count as watched.
        """
        position = int(self.catalog.positions([item_id])[0])
        items, depth = self.retriever.items, _choose_depth(k, options)
        mask = self.restrict_similar(position, allowed, options)
        own = items.join_units(np.array([position]))[0]
        near = np.flatnonzero(mask) if self.sketch is None else self.sketch.narrow(own, mask, depth)
        # Not the faster product of a library: there the last digits of a row depend on the rows around it.
        audience, synopsis = (
            np.einsum("ij,j->i", units[near], units[position]) for units in (items.lightfm_units, items.text_units)
        )
        scores = (audience + synopsis) / np.float32(2)
        order = np.lexsort((near, -scores))[:depth]
        positions, values = self.choose_similar((near[order], scores[order]), k, mask, options)
        return Recommendations(self.catalog.item_ids[positions], values, self.cold_start_ratings[positions])

    def restrict_similar(self, position: int, allowed: Mask | None, options: ListOptions) -> Mask:
        """Return which titles may be listed beside one, `(n_items,)`."""
        order = self.retriever.items.season_order
        mask = np.ones(len(self.catalog), dtype=bool) if allowed is None else allowed.copy()
        mask[position] = False
        if options.seasons == "next":
            before = [position, *order.list_before(position)]
            mask[before] = False
            watched = np.zeros(len(mask), dtype=np.bool_)
            watched[before] = True
            mask &= find_next(watched, order)
        return mask

    def choose_similar(
        self, near: tuple[Positions, Floats], k: int, allowed: Mask, options: ListOptions
    ) -> tuple[Positions, Floats]:
        """Choose k of a long list of similar titles as `recommend` does."""
        empty = UserProfile().to_history(self.catalog)
        return self._choose(near, empty, k, allowed, options)

    @cached_property
    def cold_start_ratings(self) -> Floats:
        """Predicted ratings of a user without a history, `(n_items,)`, 1..10."""
        empty = UserProfile()
        everything = np.arange(len(self.catalog))
        return self.rate(empty.to_history(self.catalog), empty.to_tastes(self.catalog), [everything])

    def save(self, directory: Path) -> None:
        """Write the whole version in open formats: Parquet, NPZ, JSON, LightGBM text."""
        directory.mkdir(parents=True, exist_ok=True)
        self.retriever.save(directory)
        self.ranker.save(directory)
        settings = {"format": FORMAT, "n_per_model": self.retriever.n_per_model}
        (directory / "recommender.json").write_text(json.dumps(settings, indent=1))

    @classmethod
    def load(cls, directory: Path, *, standalone: bool = True) -> "Recommender":
        """Read what `save` wrote; nothing is unpickled.

        Parameters
        ----------
        standalone
            False leaves out the models that answer alone; the lists of the ranker need none of them.

        Raises
        ------
        ArtifactError
            If a file is missing, truncated or altered.
        OtherFormatError
            If another version of this code wrote it.
        """
        try:
            settings = read_json(directory / "recommender.json")
            n_per_model, written = int(settings["n_per_model"]), int(settings["format"])
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise ArtifactError(f"recommender.json cannot be read: {error}") from error
        if written != FORMAT:
            raise OtherFormatError(
                f"the version has format {written}; this code reads format {FORMAT}, train a new one"
            )
        if not 1 <= n_per_model <= MAX_PER_MODEL:
            raise ArtifactError(f"recommender.json asks for {n_per_model} candidates; 1 to {MAX_PER_MODEL} make sense")
        retriever, ranker = Retriever.load(directory, n_per_model, standalone=standalone), Ranker.load(directory)
        scored = {spec.key for spec in MODELS if f"{spec.key}_score" in ranker.schema.names}
        if missing := scored - set(retriever.first_stage.models):
            raise ArtifactError(f"the ranker reads scores of {', '.join(sorted(missing))}, which are not stored")
        return cls(retriever, ranker)


def _choose_depth(k: int, options: ListOptions) -> int:
    """Choose how many titles a list of k is picked from."""
    return max(MIN_POOL, POOL_FACTOR * k) if options.once_each or options.popularity else k
