"""First stage and item side of a version: stored, asked for candidates, or for one model alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from recsys.data.catalog import Catalog
from recsys.exceptions import ArtifactError, UnknownAlgorithmError
from recsys.features.franchises import Franchises
from recsys.features.item_side import ItemSide
from recsys.features.pairs import Pairs
from recsys.features.taste_features import compute_genre_match
from recsys.files import read_frame
from recsys.recommender.folded_user import FoldedUser
from recsys.retrieval import registry
from recsys.retrieval.base import (
    CandidateGenerator,
    read_state,
    select_top,
    sparse_from_state,
    sparse_to_state,
    write_state,
)
from recsys.retrieval.first_stage import FirstStage, ModelScores, select_candidates
from recsys.retrieval.leave_one_out import remove_each
from recsys.retrieval.spec import ModelInputs
from recsys.retrieval.standalone import load_standalone, save_standalone
from recsys.types import Floats, Mask, Positions, RatingMatrix

RANKER: Final = "ranker"
CATALOG: Final = "catalog.parquet"
# Weight of a perfect match of genres, in units of the logarithm of the number of users who like a title; tuned on the
# validation users of MyAnimeList, where 0.5 to 1 make no difference.
GENRE_WEIGHT: Final = 0.75
MAX_TITLES: Final = 1_000_000
MAX_CATALOG_BYTES: Final = 1 << 29


def find_allowed(history: RatingMatrix, tastes: Floats, items: ItemSide, allowed: Mask | None = None) -> Mask:
    """Return for each user and title whether it may be a candidate, `(n_users, n_items)`.

    Watched titles never are, nor what `allowed` says of all users, `(n_items,)`, or of each. Where there is no history
    but tastes are stated, a title must carry a wanted genre, any of its genres counts.
    """
    n_users, n_items = history.shape
    mask = (
        np.ones((n_users, n_items), dtype=bool)
        if allowed is None
        else np.array(np.broadcast_to(allowed, (n_users, n_items)))
    )
    rows = np.repeat(np.arange(n_users), np.diff(history.indptr))
    mask[rows, history.indices] = False
    only_tastes = (np.diff(history.indptr) == 0) & (tastes.max(axis=1, initial=0.0) > 0)
    if only_tastes.any():
        mask[only_tastes] &= (tastes[only_tastes] > 0).astype(np.float32) @ items.catalog.genre_matrix.T > 0
    return mask


@dataclass(frozen=True)
class Retriever:
    """First stage and item side together, and the models beside them that answer alone, by key."""

    first_stage: FirstStage
    items: ItemSide
    n_per_model: int
    standalone: Mapping[str, CandidateGenerator] = field(default_factory=dict)

    def score(self, history: RatingMatrix) -> ModelScores:
        """Score the whole catalog with every model."""
        return self.first_stage.score(history)

    def describe(
        self,
        history: RatingMatrix,
        tastes: Floats,
        candidates: Sequence[Positions],
        scores: ModelScores | None = None,
    ) -> Pairs:
        """Prepare given candidates for featurising; scores that are known already are not computed again."""
        return self._pair(history, tastes, candidates, self.score(history) if scores is None else scores)

    def describe_without(self, user: FoldedUser, removed: Positions, candidates: Sequence[Positions]) -> Pairs:
        """Prepare candidates of a user without one rating: a row for each title of the history that is removed."""
        tastes = np.repeat(user.tastes, len(removed), axis=0)
        pairs = self._pair(remove_each(user.history, removed), tastes, candidates, {})
        scores = user.score_pairs_without(removed, pairs.rows, pairs.columns)
        return replace(pairs, whole=user.history, removed=removed, selected=scores)

    def retrieve(
        self, history: RatingMatrix, tastes: Floats, allowed: Mask | None = None, scores: ModelScores | None = None
    ) -> Pairs:
        """Find candidates for each row of a history.

        Parameters
        ----------
        allowed
            `(n_items,)`, or of each user `(n_users, n_items)`; False for filtered titles.
        scores
            First-stage scores of the history, if they are known already.
        """
        scores = self.score(history) if scores is None else scores
        mask = find_allowed(history, tastes, self.items, allowed)
        proposed = {name: scores[name] for name in self.first_stage.proposers}
        candidates = select_candidates(proposed, mask, self.n_per_model)
        popularity = scores[self.first_stage.fallback]
        for row in np.flatnonzero(np.diff(history.indptr) == 0):
            # Without a history every personal score is zero and its order means nothing.
            candidates[row] = np.sort(
                select_top(popularity[row : row + 1], mask[row : row + 1], 2 * self.n_per_model)[0]
            )
        return self._pair(history, tastes, candidates, scores)

    def _pair(
        self, history: RatingMatrix, tastes: Floats, candidates: Sequence[Positions], scores: ModelScores
    ) -> Pairs:
        stage = self.first_stage
        return Pairs(history, candidates, scores, tastes, self.items, stage.support, stage.impersonal)

    def score_popularity(self, history: RatingMatrix) -> Floats:
        """Score the whole catalog as for a user without a history, `(n_users, n_items)`."""
        return self.first_stage.models[self.first_stage.fallback].score(history)

    def score_cold_start(self, pairs: Pairs) -> tuple[Floats, Floats]:
        """Score pairs of users without a history by popularity and the genres they state.

        The trees learn almost everything from what history and candidate have in common. Without a history their order
        is worse than that of popularity (NDCG@10 0.158 against 0.172 on MyAnimeList), so they are not used.

        Returns
        -------
        What popularity and what the stated genres contribute to each score, `(n_pairs,)` both; the genres 0 where none
        are stated.
        """
        popularity = pairs.scores[self.first_stage.fallback][pairs.rows, pairs.columns]
        return popularity, (GENRE_WEIGHT * compute_genre_match(pairs)["genre_match"]).astype(popularity.dtype)

    @cached_property
    def generators(self) -> Mapping[str, CandidateGenerator]:
        """The models that can answer alone, by algorithm, in the order of the registry.

        Models that read no ratings are fitted here, so that every version has them.
        """
        inputs = ModelInputs(text_vectors=lambda: self.items.text_vectors)
        found = {}
        for spec in registry.MODELS:
            stored = self.standalone.get(spec.key) if spec.standalone else self.first_stage.models.get(spec.key)
            if spec.algorithm is not None and (stored is not None or not spec.reads_ratings):
                found[spec.algorithm] = stored or spec.make(inputs).fit(np.empty((0, 0)), self.items.catalog)
        return found

    def get_generator(self, algorithm: str) -> CandidateGenerator:
        """Look up the model that answers alone under a name.

        Raises
        ------
        UnknownAlgorithmError
            Names the algorithms of this version.
        """
        if algorithm not in self.generators:
            raise UnknownAlgorithmError(algorithm, [RANKER, *self.generators])
        return self.generators[algorithm]

    def save(self, directory: Path) -> None:
        """Write the first stage and the item side, whose item vectors are stored with the first stage."""
        self.items.catalog.items.to_parquet(directory / CATALOG, index=False)
        write_state({"vectors": self.items.text_vectors}, directory / "text_vectors.npz")
        write_state(sparse_to_state(self.items.title_neighbours), directory / "title_neighbours.npz")
        write_state(self.items.season_order.state, directory / "franchises.npz")
        self.first_stage.save(directory)
        save_standalone(self.standalone, directory)

    @classmethod
    def load(cls, directory: Path, n_per_model: int, *, standalone: bool = True) -> "Retriever":
        """Read what `save` wrote; `standalone` says whether with the models that answer alone.

        Raises
        ------
        ArtifactError
            If a file is missing, truncated or altered.
        """
        first_stage = FirstStage.load(directory)
        frame = read_frame(directory / CATALOG, max_rows=MAX_TITLES, max_bytes=MAX_CATALOG_BYTES)
        try:
            catalog = Catalog(frame)
            items = ItemSide(
                catalog=catalog,
                text_vectors=read_state(directory / "text_vectors.npz")["vectors"].astype(np.float32, copy=False),
                title_neighbours=sparse_from_state(read_state(directory / "title_neighbours.npz")),
                lightfm_vectors=first_stage.item_vectors,
                known_franchises=Franchises.from_state(read_state(directory / "franchises.npz"), len(catalog)),
            )
        except KeyError as error:
            raise ArtifactError(f"an array of the version is missing: {error}") from error
        _check_sizes(first_stage, items)
        return cls(first_stage, items, n_per_model, load_standalone(directory) if standalone else {})


def _check_sizes(first_stage: FirstStage, items: ItemSide) -> None:
    """Refuse parts that were made for other catalogs."""
    n_items = len(items.catalog)
    shapes = {"text_vectors": items.text_vectors.shape, "lightfm_vectors": items.lightfm_vectors.shape}
    wrong = [name for name, shape in shapes.items() if len(shape) != 2 or shape[0] != n_items]
    square = {"title_neighbours": items.title_neighbours}
    square |= {name: model.item_weights for name, model in first_stage.models.items() if model.item_weights is not None}
    wrong += [name for name, matrix in square.items() if matrix.shape != (n_items, n_items)]
    if wrong:
        raise ArtifactError(f"{wrong[0]} was made for another catalog than one of {n_items} titles")
