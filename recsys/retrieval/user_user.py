"""What users with a similar history rate highly: an approximate search for them, and an exact comparison with those."""

import hashlib
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol, Self, runtime_checkable

import numpy as np
from scipy.sparse import csr_matrix, vstack
from scipy.sparse.linalg import svds

from recsys.data.catalog import Catalog
from recsys.data.interactions import POSITIVE_RATING
from recsys.exceptions import ArtifactError, NotFittedError
from recsys.features.item_side import normalise_rows
from recsys.files import UNREADABLE
from recsys.retrieval.base import State, map_values, read_state, sparse_from_state, sparse_to_state, write_state
from recsys.retrieval.rating_sums import EVIDENCE
from recsys.retrieval.user_index import UserIndex
from recsys.types import Floats, Positions, RatingMatrix, UserId

# What a neighbour's rating adds to the score of a title: nothing below 7, then 0.4 to 1.
PRAISE = np.where(np.arange(11) >= POSITIVE_RATING, (np.arange(11) - 5) / 5, 0.0).astype(np.float32)


@runtime_checkable
class GrowingModel(Protocol):
    """A model that learns users while it serves."""

    def insert(self, user_id: UserId, history: RatingMatrix) -> bool:
        """Make a user, `(1, n_items)`, a neighbour of others; return whether that changed anything."""
        ...

    def remove(self, user_id: UserId) -> bool:
        """Forget a user who was inserted; return whether there was one."""
        ...


@dataclass
class UserUser:
    """Collaborative filtering by similar users.

    Ratings are kept as CSR. For the index, the weighted rows are projected on their main directions (truncated SVD), so
    that no dense `(n_users, n_items)` matrix is ever built; the nearest in the projection are then compared exactly.
    The score of a title adds up the praise of those neighbours who rated it 7 or more, each by similarity ** sharpness,
    and is divided by likes ** damping.

    Source of the neighbourhood model: Herlocker et al., "An algorithmic framework for performing collaborative
    filtering" (SIGIR 1999).

    Parameters
    ----------
    n_neighbours
        Users whose ratings are added up.
    n_compared
        Users that the index finds, of whom the neighbours are chosen.
    n_dimensions
        Of the vectors in the index; fewer where there are fewer users or titles.
    rarity
        How much more a rare title says about taste: weight (n_users / n_ratings) ** rarity.
    """

    n_neighbours: int = 80
    n_compared: int = 300
    n_dimensions: int = 128
    rarity: float = 0.25
    sharpness: float = 1.5
    damping: float = 0.3
    name: ClassVar[str] = "user_user"
    personal: ClassVar[bool] = True
    serves_cold_start_users: ClassVar[bool] = False
    ratings_: RatingMatrix | None = field(default=None, init=False, repr=False)

    def fit(self, ratings: RatingMatrix, catalog: Catalog) -> Self:
        """Learn the projection and index all users."""
        n_users, n_items = ratings.shape
        counts = np.maximum(np.bincount(ratings.indices, minlength=n_items), 1)
        self._weights = ((max(n_users, 1) / counts) ** self.rarity).astype(np.float32)
        self._prepare(csr_matrix(ratings, dtype=np.float32, copy=True))
        self._projection, self._strengths = _find_directions(self._rows, self.n_dimensions)
        self._index = UserIndex(self._projection.shape[1])
        self._index.insert(range(-1, -n_users - 1, -1), self._project(self._rows))
        return self

    def _prepare(self, ratings: RatingMatrix) -> None:
        self.ratings_ = ratings
        self._rows, self._praise = self._weigh(ratings), map_values(ratings, PRAISE)
        likes = np.bincount(ratings.indices, weights=ratings.data >= POSITIVE_RATING, minlength=ratings.shape[1])
        self._prices = (np.maximum(likes, 1.0) ** -self.damping).astype(np.float32)
        self._known = {digest_row(ratings[row]) for row in range(ratings.shape[0])}
        # Users who came later stand behind those of the training; their rows are replaced, never changed.
        self._later: list[tuple[RatingMatrix, RatingMatrix]] = []
        self._lock = threading.Lock()

    def _weigh(self, ratings: RatingMatrix) -> RatingMatrix:
        """Return what similarity is computed from: rows of length 1."""
        # On the values themselves: for one row, products with diagonal matrices take as long as the rest of a list.
        weighted = map_values(ratings, EVIDENCE)
        weighted.data *= self._weights[weighted.indices]
        rows = np.repeat(np.arange(weighted.shape[0]), np.diff(weighted.indptr))
        squares = np.bincount(rows, weights=np.square(weighted.data, dtype=np.float64), minlength=weighted.shape[0])
        weighted.data *= (1 / np.maximum(np.sqrt(squares), 1e-9)).astype(np.float32)[rows]
        return weighted

    def _project(self, rows: RatingMatrix) -> Floats:
        return normalise_rows(np.asarray(rows @ self._projection, dtype=np.float32))

    def score(self, history: RatingMatrix) -> Floats:
        """Score the whole catalog for each row of a history, `(n_users, n_items)`."""
        if self.ratings_ is None:
            raise NotFittedError(self)
        rows = self._weigh(history)
        scores = np.zeros(history.shape, dtype=np.float32)
        for row in np.flatnonzero(np.diff(rows.indptr)):
            places, similarities = self.find_neighbours(rows[row])
            praise = self._gather(places, 1)
            scores[row] = (praise.T @ similarities**self.sharpness) * self._prices
        return scores

    def find_neighbours(self, row: RatingMatrix) -> tuple[Positions, Floats]:
        """Find the most similar users of a weighted row of length 1, most similar first: places and cosines."""
        found = np.sort(self._index.query(self._project(row), self.n_compared)[0][0])
        similarities = np.asarray((self._gather(found, 0) @ row.T).todense(), dtype=np.float32).ravel()
        best = np.lexsort((found, -similarities))[: self.n_neighbours]
        best = best[similarities[best] > 0]
        return found[best], similarities[best]

    def _gather(self, places: Positions, part: int) -> RatingMatrix:
        """Take rows by their places, those of the training users from one matrix."""
        base = (self._rows, self._praise)[part]
        later = places[places >= base.shape[0]]
        rows = base[places[places < base.shape[0]]]
        if not len(later):
            return rows
        if np.array_equal(np.sort(places), places):
            return vstack([rows, *(self._later[place - base.shape[0]][part] for place in later)], format="csr")
        order = np.argsort(places, kind="stable")
        return self._gather(places[order], part)[np.argsort(order, kind="stable")]

    def insert(self, user_id: UserId, history: RatingMatrix) -> bool:
        """Insert a user, `(1, n_items)`, or replace what was known of them; return whether that changed anything.

        A row that training users have as well is there already. An empty one has no neighbours and is left out.

        Raises
        ------
        NotFittedError
            Before `fit`.
        """
        if self.ratings_ is None:
            raise NotFittedError(self)
        digest = digest_row(history)
        # Negative ids are those of the training users, whose real ones no model is told.
        if user_id < 0 or not history.nnz or digest in self._known:
            return False
        with self._lock:
            place = self._index.find(user_id)
            if place is not None and self._index.digests[place] == digest:
                return False
            described = self._weigh(history), map_values(history, PRAISE)
            if place is None:
                self._later.append(described)
            else:
                self._later[place - self.ratings_.shape[0]] = described
            self._index.insert([user_id], self._project(described[0]), [digest])
        return True

    def remove(self, user_id: UserId) -> bool:
        """Forget a user who was inserted; return whether there was one."""
        if self.ratings_ is None:
            raise NotFittedError(self)
        with self._lock:
            place = self._index.find(user_id) if user_id >= 0 else None
            if place is None or not self._index.remove(user_id):
                return False
            nothing = csr_matrix((1, self.ratings_.shape[1]), dtype=np.float32)
            self._later[place - self.ratings_.shape[0]] = nothing, nothing
            return True

    @property
    def inserted(self) -> dict[UserId, str]:
        """Digests of the rows of inserted users."""
        n_training = 0 if self.ratings_ is None else self.ratings_.shape[0]
        index = self._index
        pairs = zip(index.user_ids[n_training:], index.digests[n_training:], strict=True)
        return {user_id: digest for user_id, digest in pairs if digest}

    @property
    def item_weights(self) -> RatingMatrix | None:
        """No title supports another."""
        return None

    @property
    def item_vectors(self) -> Floats | None:
        """Titles in the space of the index, `(n_items, n_dimensions)`; None before `fit`."""
        return None if self.ratings_ is None else self.get_vectors()

    def get_vectors(self) -> Floats:
        """Return titles in the space of the index, `(n_items, n_dimensions)`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        """
        if self.ratings_ is None:
            raise NotFittedError(self)
        return np.asarray(self._projection * self._strengths, dtype=np.float32)

    def state(self) -> State:
        """Return ratings, projection and constants of the training users."""
        if self.ratings_ is None:
            raise NotFittedError(self)
        numbers = (self.n_neighbours, self.n_compared, self.n_dimensions)
        constants = (*numbers, self.rarity, self.sharpness, self.damping)
        compact = {name: part for name, part in sparse_to_state(self.ratings_).items() if name != "data"}
        return compact | {
            "data": self.ratings_.data.astype(np.int8),
            "weights": self._weights,
            "projection": self._projection,
            "strengths": self._strengths,
            "constants": np.array(constants),
        }

    def save(self, folder: Path) -> None:
        """Write the arrays, and the index of the training users with its id map; inserted users are not stored."""
        self.save_as(folder, self.name)

    def save_as(self, folder: Path, name: str) -> None:
        """Write the files under another name."""
        state = self.state()
        write_state(state, folder / f"{name}.npz")
        index = self._index
        if self._later:
            index = UserIndex(self._projection.shape[1])
            index.insert(range(-1, -self._rows.shape[0] - 1, -1), self._project(self._rows))
        index.save(folder / f"{name}.hnsw", folder / f"{name}.json", digest_array(self._projection))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        ArtifactError
            If a file is missing, truncated or altered.
        """
        return cls.load_as(folder, cls.name)

    @classmethod
    def load_as(cls, folder: Path, name: str) -> Self:
        """Read files under another name."""
        state = read_state(folder / f"{name}.npz")
        try:
            n_neighbours, n_compared, n_dimensions, *rest = state["constants"].tolist()
            model = cls(int(n_neighbours), int(n_compared), int(n_dimensions), *rest)
            model._weights = state["weights"]
            model._projection, model._strengths = state["projection"], state["strengths"]
            model._prepare(sparse_from_state(state))
        except KeyError as error:
            raise ArtifactError(f"{name}.npz holds no array {error}") from error
        except UNREADABLE as error:
            raise ArtifactError(f"{name}.npz holds other arrays than {name} wrote: {error}") from error
        made_of = digest_array(model._projection)
        model._index = UserIndex.load(folder / f"{name}.hnsw", folder / f"{name}.json", made_of)
        if len(model._index) != model._rows.shape[0]:
            raise ArtifactError(f"{name}.json names {len(model._index)} users, {name}.npz {model._rows.shape[0]}")
        return model


def digest_row(history: RatingMatrix) -> str:
    """Compute a digest of the titles and ratings of one row."""
    titles = history.indices.astype(np.int64).tobytes()
    return hashlib.sha256(titles + b"/" + history.data.astype(np.float32).tobytes()).hexdigest()[:32]


def digest_array(values: Floats) -> str:
    """Compute a digest of an array."""
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def _find_directions(rows: RatingMatrix, n_dimensions: int) -> tuple[Floats, Floats]:
    """Return the main directions of weighted rows, `(n_items, at most n_dimensions)`, and their singular values."""
    k = min(n_dimensions, min(rows.shape) - 1)
    if k < 1 or not rows.nnz:
        return np.ones((rows.shape[1], 1), dtype=np.float32), np.ones(1, dtype=np.float32)
    # A start of its own, so that equal ratings give equal directions.
    _, values, directions = svds(rows, k=k, v0=np.ones(min(rows.shape), dtype=np.float32))
    return np.ascontiguousarray(directions[::-1].T, dtype=np.float32), values[::-1].astype(np.float32)
