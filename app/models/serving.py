"""A model version ready to serve: loaded, indexed, and verified before its first request."""

import hashlib
import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np

from app.models.filters import CatalogFilters
from app.models.item_views import ItemViews
from recsys.columns import ItemColumns
from recsys.data.catalog import Catalog
from recsys.data.titles import TitleIndex
from recsys.exceptions import ArtifactError
from recsys.memory import trim_memory
from recsys.recommender import Recommendations, Recommender, UserProfile
from recsys.recommender.golden import check_golden_requests
from recsys.recommender.retriever import CATALOG
from recsys.types import Floats, Positions

logger = logging.getLogger(__name__)
_CHECKED_LENGTH = 10


@dataclass(frozen=True)
class CatalogIndexes:
    """What is looked up in a catalog; it depends on nothing else of a version."""

    catalog: Catalog
    titles: TitleIndex
    filters: CatalogFilters
    item_views: ItemViews

    @classmethod
    def build(cls, catalog: Catalog) -> "CatalogIndexes":
        """Index a catalog."""
        return cls(catalog, TitleIndex.build(catalog), CatalogFilters.build(catalog), ItemViews.build(catalog))


# By the digest of the file of a catalog, as long as a version in memory uses them: versions of the same titles, trained
# week after week, share a hundred megabytes.
_INDEXES: WeakValueDictionary[str, CatalogIndexes] = WeakValueDictionary()


@dataclass(frozen=True)
class ServingModel:
    """One model version with the indexes over its catalog, as one immutable value."""

    name: str
    version: int
    run_id: str
    loaded_at: datetime
    recommender: Recommender
    indexes: CatalogIndexes
    by_popularity: Positions  # most members first

    @property
    def titles(self) -> TitleIndex:
        """Every name of every title."""
        return self.indexes.titles

    @property
    def filters(self) -> CatalogFilters:
        """Masks over the catalog."""
        return self.indexes.filters

    @property
    def item_views(self) -> ItemViews:
        """Views of the titles for responses."""
        return self.indexes.item_views

    @classmethod
    def build(
        cls,
        recommender: Recommender,
        *,
        name: str,
        version: int,
        run_id: str,
        indexes: CatalogIndexes | None = None,
    ) -> "ServingModel":
        """Put a loaded recommender together with indexes of its catalog, which are built unless they are given."""
        catalog = recommender.catalog
        members = catalog.items[ItemColumns.Members].fillna(0).to_numpy(dtype=np.float32)
        return cls(
            name=name,
            version=version,
            run_id=run_id,
            loaded_at=datetime.now(UTC),
            recommender=recommender,
            indexes=indexes or CatalogIndexes.build(catalog),
            by_popularity=np.argsort(-members, kind="stable"),
        )


def load_model(folder: Path, *, name: str, version: int, run_id: str) -> ServingModel:
    """Load a version, replay its golden requests and the sanity check, and return it warm.

    Its arrays are copied into memory: a mapped file that is written to or cut off would end the process (SIGBUS).

    Raises
    ------
    RecsysError
        If a file is missing, truncated or altered, if features are not those of the ranker, if a response
        differs from the recorded one, or if the sanity check fails.
    """
    recommender, indexes = _share_catalog(Recommender.load(folder), folder)
    recommender = recommender.accelerate()
    n_golden = check_golden_requests(recommender, folder)
    if not n_golden:
        logger.warning("version %d of %s was stored without golden requests", version, name)
    model = ServingModel.build(recommender, name=name, version=version, run_id=run_id, indexes=indexes)
    check_model(model)
    # Loading takes several times the memory that a version keeps; no table is read before the next one.
    trim_memory()
    return model


def _share_catalog(recommender: Recommender, folder: Path) -> tuple[Recommender, CatalogIndexes]:
    """Let a recommender use the catalog, and what is built for it, of one in memory whose catalog is the same file."""
    with (folder / CATALOG).open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    indexes = _INDEXES.get(digest)
    if indexes is None:
        indexes = _INDEXES[digest] = CatalogIndexes.build(recommender.catalog)
        return recommender, indexes
    items = replace(recommender.retriever.items, catalog=indexes.catalog)
    return replace(recommender, retriever=replace(recommender.retriever, items=items)), indexes


def check_model(model: ServingModel) -> None:
    """Sanity check: request lists for a new user, for a user with a history, similar titles, and ratings of a history.

    It also compiles what requests need, before processes share the model.

    Raises
    ------
    ArtifactError
        If a list is short, repeats an item, holds an unknown or watched one, a score that is not finite or a
        predicted rating outside 1..10, or if a predicted rating of a watched title is.
    """
    recommender = model.recommender
    item_ids = recommender.catalog.item_ids
    popular = item_ids[model.by_popularity[:5]]
    some_user = UserProfile(popular, np.linspace(10, 6, len(popular), dtype=np.float32))
    for what, found, watched in (
        ("a new user", recommender.recommend(UserProfile(), k=_CHECKED_LENGTH), popular[:0]),
        ("a user with a history", recommender.recommend(some_user, k=_CHECKED_LENGTH), popular),
        ("similar titles", recommender.similar_items(int(popular[0]), k=_CHECKED_LENGTH), popular[:1]),
    ):
        expected = min(_CHECKED_LENGTH, len(item_ids) - len(watched))
        if not _is_sane(found, model, watched.tolist(), expected):
            raise ArtifactError(
                f"version {model.version} of {model.name} fails the sanity check: the list for {what} is not valid"
            )
    if not _are_ratings(recommender.predict_hidden(some_user, popular)):
        raise ArtifactError(
            f"version {model.version} of {model.name} fails the sanity check: a rating of a watched title is not valid"
        )


def _are_ratings(predicted: Floats) -> bool:
    return bool(((predicted >= 1) & (predicted <= 10)).all())


def _is_sane(found: Recommendations, model: ServingModel, watched: list[int], expected: int) -> bool:
    ids = found.item_ids.tolist()
    return (
        len(ids) == len(set(ids)) == len(found.scores) == expected
        and bool(model.recommender.catalog.contains(found.item_ids).all())
        and not set(ids) & set(watched)
        and bool(np.isfinite(found.scores).all())
        and _are_ratings(found.predicted_ratings)
    )
