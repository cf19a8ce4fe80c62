"""The model that answers: loaded from the registry, watched, and swapped for a newer one without a pause."""

import logging
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import numpy as np

from app.cards import ItemCards
from app.choices import CatalogChoices
from app.metrics import ServiceMetrics
from recsys.columns import ItemColumns
from recsys.data.titles import TitleIndex
from recsys.exceptions import ArtifactError, NoProductionModelError, RecsysError
from recsys.recommender import Profile, Recommendations, Recommender
from recsys.types import Floats, Positions

logger = logging.getLogger(__name__)
WATCH_SECONDS = 2.0
FIRST_RETRY_SECONDS = 2.0
LAST_RETRY_SECONDS = 60.0
_CHECKED_LENGTH = 10


class RegisteredVersion(Protocol):
    """What the registry says about a version."""

    @property
    def run_id(self) -> str:
        """The run that made it."""


class ModelSource(Protocol):
    """Where models come from: `recsys.storage.registry.Registry`, or a folder in tests."""

    def production_version(self) -> int | None:
        """Return the version in Production, or None while nothing was promoted."""

    def read_version(self, version: int) -> RegisteredVersion:
        """Look one version up."""

    def download(self, version: int, directory: Path) -> Path:
        """Fetch a version below a directory and return the folder to load it from."""


@dataclass(frozen=True)
class ServingModel:
    """One model version with the indexes over its catalog: everything that a request needs, as one value."""

    name: str
    version: int
    run_id: str
    loaded_at: datetime
    recommender: Recommender
    titles: TitleIndex
    choices: CatalogChoices
    cards: ItemCards
    members: Floats  # (n_items,), 0 where unknown
    by_popularity: Positions  # most members first

    @classmethod
    def build(cls, recommender: Recommender, *, name: str, version: int, run_id: str) -> "ServingModel":
        """Index the catalog of a loaded recommender."""
        catalog = recommender.catalog
        members = catalog.items[ItemColumns.Members].fillna(0).to_numpy(dtype=np.float32)
        return cls(
            name=name,
            version=version,
            run_id=run_id,
            loaded_at=datetime.now(UTC),
            recommender=recommender,
            titles=TitleIndex.build(catalog),
            choices=CatalogChoices.build(catalog),
            cards=ItemCards.build(catalog),
            members=members,
            by_popularity=np.argsort(-members, kind="stable"),
        )


def check_model(model: ServingModel) -> None:
    """Ask a model for somebody new, for somebody with a history and for similar titles before anyone else does.

    Raises
    ------
    ArtifactError
        If a list is short, repeats an item, holds an unknown or watched one, a score that is not finite or a
        predicted rating outside 1..10.
    """
    recommender = model.recommender
    item_ids = recommender.catalog.item_ids
    popular = item_ids[model.by_popularity[:5]]
    somebody = Profile(popular, np.linspace(10, 6, len(popular), dtype=np.float32))
    for what, answer, watched in (
        ("a new user", recommender.recommend(Profile(), k=_CHECKED_LENGTH), popular[:0]),
        ("a user with a history", recommender.recommend(somebody, k=_CHECKED_LENGTH), popular),
        ("similar titles", recommender.similar_items(int(popular[0]), k=_CHECKED_LENGTH), popular[:1]),
    ):
        expected = min(_CHECKED_LENGTH, len(item_ids) - len(watched))
        if not _is_sane(answer, model, watched.tolist(), expected):
            raise ArtifactError(f"version {model.version} of {model.name} gives no sane list for {what}")


def _is_sane(answer: Recommendations, model: ServingModel, watched: list[int], expected: int) -> bool:
    ids = answer.item_ids.tolist()
    return (
        len(ids) == len(set(ids)) == len(answer.scores) == expected
        and bool(model.recommender.catalog.contains(answer.item_ids).all())
        and not set(ids) & set(watched)
        and bool(np.isfinite(answer.scores).all())
        and bool(((answer.predicted_ratings >= 1) & (answer.predicted_ratings <= 10)).all())
    )


class ProductionModel:
    """The model in Production: one reference, read by requests and replaced by the watching thread alone.

    A request takes `current` once and keeps what it got, so that no answer mixes two versions. A version that cannot
    be loaded or gives no sane list is refused: the one before it stays, and the refused one is tried again ever more
    rarely, since it may have been the network.
    """

    def __init__(self, source: ModelSource, name: str, metrics: ServiceMetrics) -> None:
        self._source = source
        self._name = name
        self._metrics = metrics
        self._current: ServingModel | None = None
        self._refused: tuple[int, float] | None = None  # version, and when it may be tried again
        self._wait = FIRST_RETRY_SECONDS

    @property
    def current(self) -> ServingModel:
        """The model that answers now.

        Raises
        ------
        NoProductionModelError
            Until the first one is loaded.
        """
        if self._current is None:
            raise NoProductionModelError("no model is loaded; promote one with `otaku retrain`")
        return self._current

    def refresh(self, clock: Callable[[], float] = time.monotonic) -> bool:
        """Look at the alias and swap if it points elsewhere; tell whether a swap took place."""
        try:
            target = self._source.production_version()
        except RecsysError as error:
            self._metrics.count_refresh(succeeded=False)
            logger.warning("the registry does not answer, the model stays: %s", error)
            return False
        self._metrics.count_refresh(succeeded=True)
        if target is None or (self._current is not None and self._current.version == target):
            return False
        if self._refused is not None and self._refused[0] == target and clock() < self._refused[1]:
            return False
        return self._swap(target, clock)

    def _swap(self, target: int, clock: Callable[[], float]) -> bool:
        try:
            model = self._load(target)
            check_model(model)
        # Whatever a broken file makes a parser raise, the model that works must go on working.
        except Exception:
            again = self._refused is not None and self._refused[0] == target
            self._wait = min(self._wait * 2, LAST_RETRY_SECONDS) if again else FIRST_RETRY_SECONDS
            self._refused = (target, clock() + self._wait)
            self._metrics.count_refusal()
            logger.exception("version %d of %s is refused", target, self._name)
            return False
        self._current, self._refused = model, None
        self._metrics.count_swap(model.name, model.version, model.run_id)
        logger.info("version %d of %s serves from now on", model.version, model.name)
        return True

    def _load(self, target: int) -> ServingModel:
        run_id = self._source.read_version(target).run_id
        with tempfile.TemporaryDirectory(prefix="otaku-model-") as folder:
            recommender = Recommender.load(self._source.download(target, Path(folder)))
        return ServingModel.build(recommender, name=self._name, version=target, run_id=run_id)

    def watch(self, stop: threading.Event, seconds: float = WATCH_SECONDS) -> None:
        """Refresh until told to stop."""
        while not stop.is_set():
            try:
                self.refresh()
            except Exception:  # a thread that dies would freeze the version for ever
                logger.exception("the watch on the registry goes on after an error")
            stop.wait(seconds)
