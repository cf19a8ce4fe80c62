"""Similar users' best titles, widened by titles similar to those and to the favourites, in one weighted ranking."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Final, Self

import numpy as np

from recsys.data.catalog import Catalog
from recsys.exceptions import ArtifactError, NotFittedError
from recsys.features.item_side import normalise_rows
from recsys.files import UNREADABLE
from recsys.retrieval.base import check_square, read_state, select_top, sparse_from_state, sparse_to_state, write_state
from recsys.retrieval.item_item import keep_largest_by_row
from recsys.retrieval.tfidf import MetadataTfidf
from recsys.retrieval.user_user import UserUser
from recsys.types import Floats, Mask, Positions, RatingMatrix, UserId

# Titles compared at once when similar ones are searched.
_BATCH: Final = 512


@dataclass
class Hybrid:
    """Collaborative and content-based filtering in a weighted sum.

    The first stage scores what users with a similar history rate highly (`UserUser`). The second takes the best of
    that and passes their scores on to the titles nearest to them, by the cosine of the directions that the first stage
    learned from ratings. The third compares metadata and synopses with the favourites (`MetadataTfidf`). Each is scaled
    so that its best unwatched title scores 1, and they are added up by weight.

    Parameters
    ----------
    user_weight, title_weight, content_weight
        Weights of the three; only their ratios matter. `OTAKU_HYBRID_WEIGHTS` sets them for the weekly training.
    n_expanded
        Best titles of the first stage that are passed on.
    n_similar
        Nearest titles that each is passed on to.
    min_ratings
        Titles with fewer ratings are near nothing: their directions are noise.
    """

    user_weight: float = 1.0
    title_weight: float = 0.05
    content_weight: float = 0.6
    n_expanded: int = 50
    n_similar: int = 50
    min_ratings: int = 10
    users: UserUser = field(default_factory=UserUser, repr=False)
    content: MetadataTfidf = field(default_factory=MetadataTfidf, repr=False)
    name: ClassVar[str] = "hybrid"
    personal: ClassVar[bool] = True
    serves_cold_start_users: ClassVar[bool] = False
    similar_: RatingMatrix | None = field(default=None, init=False, repr=False)

    def fit(self, ratings: RatingMatrix, catalog: Catalog) -> Self:
        """Learn similar users and similar titles."""
        # Fresh ones: the defaults of a declaration are shared by all models made from it.
        self.users, self.content = (
            replace(self.users).fit(ratings, catalog),
            replace(self.content).fit(ratings, catalog),
        )
        counts = np.bincount(ratings.indices, minlength=ratings.shape[1])
        known = counts >= min(self.min_ratings, counts.max(initial=1))
        self.similar_ = find_similar(self.users.get_vectors(), known, self.n_similar)
        return self

    def score(self, history: RatingMatrix) -> Floats:
        """Score the whole catalog for each row of a history, `(n_users, n_items)`."""
        if self.similar_ is None:
            raise NotFittedError(self)
        watched = history.nonzero()
        shown = np.ones(history.shape, dtype=bool)
        shown[watched] = False
        liked = _scale(self.users.score(history), watched)
        passed_on = np.zeros_like(liked)
        for row, best in enumerate(select_top(liked, shown, self.n_expanded)):
            passed_on[row] = liked[row, best] @ self.similar_[best]
        scores = self.user_weight * liked + self.title_weight * _scale(passed_on, watched)
        return np.asarray(scores + self.content_weight * _scale(self.content.score(history), watched), dtype=np.float32)

    def insert(self, user_id: UserId, history: RatingMatrix) -> bool:
        """Make a user a neighbour of others, as `UserUser.insert`."""
        return self.users.insert(user_id, history)

    def remove(self, user_id: UserId) -> bool:
        """Forget a user who was inserted, as `UserUser.remove`."""
        return self.users.remove(user_id)

    @property
    def inserted(self) -> dict[UserId, str]:
        """Digests of the rows of inserted users."""
        return self.users.inserted

    @property
    def item_weights(self) -> RatingMatrix | None:
        """No title of a history supports another: users come first."""
        return None

    @property
    def item_vectors(self) -> Floats | None:
        """Directions of the titles, `(n_items, n_dimensions)`; None before `fit`."""
        return self.users.item_vectors

    def save(self, folder: Path) -> None:
        """Write the files of the first stage under this name, and the similar titles beside them."""
        if self.similar_ is None:
            raise NotFittedError(self)
        self.users.save_as(folder, self.name)
        weights = np.array([self.user_weight, self.title_weight, self.content_weight])
        numbers = np.array([self.n_expanded, self.n_similar, self.min_ratings])
        state = {**sparse_to_state(self.similar_), "weights": weights, "numbers": numbers}
        write_state(state, folder / f"{self.name}.titles.npz")
        write_state(self.content.state(), folder / f"{self.name}.content.npz")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        ArtifactError
            If a file is missing, truncated or altered.
        """
        state = read_state(folder / f"{cls.name}.titles.npz")
        try:
            model = cls(*state["weights"].tolist(), *state["numbers"].tolist())
            model.similar_ = check_square(sparse_from_state(state))
            model.content = MetadataTfidf.from_state(read_state(folder / f"{cls.name}.content.npz"))
        except KeyError as error:
            raise ArtifactError(f"{cls.name}: a file holds no array {error}") from error
        except UNREADABLE as error:
            raise ArtifactError(f"{cls.name}: a file holds other arrays than it wrote: {error}") from error
        model.users = UserUser.load_as(folder, cls.name)
        return model


def _scale(scores: Floats, watched: tuple[Positions, Positions]) -> Floats:
    """Scale each row so that its best unwatched title scores 1; watched ones score 0."""
    scores[watched] = 0.0
    return np.asarray(scores / np.maximum(scores.max(axis=1, keepdims=True, initial=0.0), 1e-9), dtype=np.float32)


def find_similar(vectors: Floats, known: Mask, n_similar: int) -> RatingMatrix:
    """Find the nearest titles of each by cosine, CSR `(n_items, n_items)`, row i those of title i; unknown ones none.

    Parameters
    ----------
    vectors
        `(n_items, n_dimensions)`.
    known
        Titles that are compared, `(n_items,)`.
    """
    places = np.flatnonzero(known)
    units = normalise_rows(vectors[places])
    rows, columns, values = [], [], []
    n_kept = min(n_similar, max(len(places) - 1, 0))
    for start in range(0, len(places) if n_kept else 0, _BATCH):
        part = slice(start, start + _BATCH)
        cosines = units[part] @ units.T
        own = np.arange(start, start + len(cosines))
        cosines[np.arange(len(cosines)), own] = -np.inf
        nearest = np.argpartition(-cosines, n_kept - 1, axis=1)[:, :n_kept]
        rows.append(np.repeat(places[own], n_kept))
        columns.append(places[nearest].ravel())
        values.append(np.maximum(np.take_along_axis(cosines, nearest, axis=1), 0).ravel())
    if not rows:
        rows, columns, values = [places[:0]], [places[:0]], [np.empty(0, dtype=np.float32)]
    shape = (len(vectors), len(vectors))
    return keep_largest_by_row(
        np.concatenate(rows), np.concatenate(columns), np.concatenate(values), shape, max(n_similar, 1)
    )
