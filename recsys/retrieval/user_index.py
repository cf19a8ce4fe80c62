"""An approximate index of users by the cosine of their vectors, which grows while it is queried.

Each user is a point in a hierarchical navigable small world graph (Malkov & Yashunin, 2016; `hnswlib`). Points stand at
places 0, 1, 2 … in the order of their insertion; the id map says which user stands where.
"""

import hashlib
import json
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from recsys.exceptions import ArtifactError
from recsys.files import read_json
from recsys.retrieval.graph_checks import check_graph
from recsys.types import Floats

if TYPE_CHECKING:
    import hnswlib

# Links of a point, and how widely points are searched when one is inserted or asked for.
M: Final = 24
EF_CONSTRUCTION: Final = 200
MIN_EF: Final = 400
SEED: Final = 0
# Room for so many more points than there are; doubled when it is used up.
MIN_ROOM: Final = 64
MAX_ID_MAP_BYTES: Final = 1 << 28


@dataclass
class UserIndex:
    """Nearest users by cosine; thread-safe: a query sees all of an insertion or nothing of it.

    hnswlib lets queries run at the same time, and insertions, but not both: a lock keeps them apart.
    """

    n_dimensions: int
    user_ids: list[int] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    _graph: "hnswlib.Index" = field(default=None, repr=False)
    _places: dict[int, int] = field(init=False, default_factory=dict, repr=False)
    _removed: set[int] = field(init=False, default_factory=set, repr=False)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        self._places = {user_id: place for place, user_id in enumerate(self.user_ids)}
        if self._graph is None:
            self._graph = _make_graph(self.n_dimensions)
            self._graph.init_index(MIN_ROOM, M=M, ef_construction=EF_CONSTRUCTION, random_seed=SEED)

    def __len__(self) -> int:
        return len(self.user_ids)

    def find(self, user_id: int) -> int | None:
        """Find the place of a user; None if the index does not hold the user."""
        return self._places.get(user_id)

    def insert(self, user_ids: Sequence[int], vectors: Floats, digests: Sequence[str] | None = None) -> list[int]:
        """Insert users, or move those that are there already, and return their places.

        Parameters
        ----------
        vectors
            `(n_users, n_dimensions)`.
        digests
            Of what each vector was computed from, so that a stale one can be told.
        """
        told = list(digests) if digests is not None else [""] * len(user_ids)
        with self._lock:
            places = []
            for user_id, digest in zip(user_ids, told, strict=True):
                place = self._places.setdefault(int(user_id), len(self.user_ids))
                if place == len(self.user_ids):
                    self.user_ids.append(int(user_id))
                    self.digests.append(digest)
                self.digests[place] = digest
                places.append(place)
            room = self._graph.get_max_elements()
            if len(self.user_ids) > room:
                self._graph.resize_index(max(2 * room, len(self.user_ids) + MIN_ROOM))
            for place in self._removed.intersection(places):
                self._graph.unmark_deleted(place)
                self._removed.discard(place)
            if places:
                self._graph.add_items(vectors, places, num_threads=1)
            return places

    def remove(self, user_id: int) -> bool:
        """Let no query find a user any more, whose place stays taken; return whether there was one."""
        with self._lock:
            place = self._places.get(user_id)
            if place is None or place in self._removed:
                return False
            self._graph.mark_deleted(place)
            self._removed.add(place)
            self.digests[place] = ""
            return True

    def query(self, vectors: Floats, k: int) -> tuple[npt.NDArray[np.intp], Floats]:
        """Return the places of the k nearest users, nearest first, and their cosines, `(n_queries, k)` both.

        k is at most the number of users.
        """
        with self._lock:
            k = min(k, len(self.user_ids) - len(self._removed))
            if not k or not len(vectors):
                empty = np.empty((len(vectors), 0))
                return empty.astype(np.intp), empty.astype(np.float32)
            self._graph.set_ef(max(MIN_EF, 2 * k))
            places, distances = self._graph.knn_query(vectors, k, num_threads=1)
        return places.astype(np.intp), (1 - distances).astype(np.float32)

    def save(self, graph: Path, id_map: Path, made_of: str = "") -> None:
        """Write graph and id map, each at once; the id map names the digest of the graph.

        Parameters
        ----------
        made_of
            What the vectors depend on; an index made of something else is stale.
        """
        with self._lock:
            # hnswlib writes to a path only, and the file is complete before it takes the name.
            with tempfile.NamedTemporaryFile(dir=graph.parent, delete=False) as handle:
                self._graph.save_index(handle.name)
            content = {
                "n_dimensions": self.n_dimensions,
                "made_of": made_of,
                "user_ids": list(self.user_ids),
                "digests": list(self.digests),
            }
        content["graph"] = _digest_file(Path(handle.name))
        Path(handle.name).replace(graph)
        content["digest"] = _digest_map(content)
        with tempfile.NamedTemporaryFile("w", dir=id_map.parent, delete=False) as text:
            json.dump(content, text)
        Path(text.name).replace(id_map)

    @classmethod
    def load(cls, graph: Path, id_map: Path, made_of: str = "") -> "UserIndex":
        """Read what `save` wrote.

        Raises
        ------
        ArtifactError
            If a file is missing, damaged, stale or of another index.
        """
        try:
            content: dict[str, Any] = read_json(id_map, MAX_ID_MAP_BYTES)
            told, found = content.pop("digest"), _digest_map(content)
            if told != found:
                raise ArtifactError(f"{id_map.name} was altered: its digest is {found[:12]} instead of {told[:12]}")
            if content["made_of"] != made_of:
                raise ArtifactError(f"{id_map.name} is stale: it was made of other vectors")
            found = _digest_file(graph)
            if content["graph"] != found:
                raise ArtifactError(f"{graph.name} is not the graph that {id_map.name} was written for")
            check_graph(graph, n_points=len(content["user_ids"]), n_dimensions=int(content["n_dimensions"]))
            points = _make_graph(int(content["n_dimensions"]))
            points.load_index(str(graph), max_elements=len(content["user_ids"]) + MIN_ROOM)
            index = cls(int(content["n_dimensions"]), content["user_ids"], content["digests"], points)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise ArtifactError(f"{graph.name} and {id_map.name} cannot be read: {error}") from error
        if not index._graph.get_current_count() == len(index) == len(index._places) == len(index.digests):
            raise ArtifactError(f"{id_map.name} names {len(index)} users; {graph.name} holds another number")
        return index


def _make_graph(n_dimensions: int) -> "hnswlib.Index":
    import hnswlib

    graph = hnswlib.Index(space="cosine", dim=n_dimensions)
    graph.set_num_threads(1)
    return graph


def _digest_file(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _digest_map(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
