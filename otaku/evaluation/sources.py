"""Where the users, the texts and the registered versions of an evaluation come from."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from otaku.console import read_settings, running_settings
from otaku.evaluation.loading import freeze_database, load_text_vectors, read_folder
from recsys.connections import open_registry, open_store
from recsys.data.sources.reports import OnProgress
from recsys.evaluation.evaluation_set import EvaluationData
from recsys.features.text_embeddings import select_synopses
from recsys.recommender import Recommender
from recsys.retrieval.spec import normalise_name
from recsys.types import Floats
from retrain_model import text_cache

BASELINES = ("popular", "item-knn", "als", "ease")
# What other models are paired with by default: the first of these that is evaluated.
REFERENCES = ("ease", "popular")


@dataclass(frozen=True)
class Source:
    """A world, and how its synopses become vectors.

    Parameters
    ----------
    uri
        Folder or snapshot.
    """

    world: EvaluationData
    text_vectors: Callable[[], Floats]
    uri: str


def open_folder(directory: Path, report: OnProgress) -> Source:
    """Read a folder; no service is needed, and vectors are kept under OTAKU_HOME."""
    settings = read_settings()
    world = read_folder(directory, on_progress=report)

    def embed() -> Floats:
        return load_text_vectors(
            settings.home / "text-vectors",
            select_synopses(world.catalog),
            settings.text_model,
            on_progress=lambda done, total: report("embed text", done, total),
        )

    return Source(world, embed, directory.name)


def open_database(as_of: date | None, report: OnProgress) -> Source:
    """Freeze the database as of a day; vectors are those of the retrainings."""
    settings = running_settings()
    world, uri = freeze_database(settings, as_of)

    def embed() -> Floats:
        """Embed the synopses, or read their vectors."""
        return text_cache.load_text_vectors(
            open_store(settings),
            select_synopses(world.catalog),
            settings.text_model,
            on_progress=lambda done, total: report("embed text", done, total),
        )

    return Source(world, embed, uri)


def open_version(version: int) -> Recommender:
    """Load a registered version."""
    with tempfile.TemporaryDirectory(prefix="otaku-") as folder:
        return Recommender.load(open_registry(running_settings()).download(version, Path(folder)))


def choose_models(models: str | None, versions: Sequence[int], *, from_database: bool) -> list[str]:
    """List the models to evaluate, each once; by default the baselines and, for the database, what is in Production."""
    names = [name for name in (models or "").split(",") if name.strip()]
    if models is None and not versions:
        names = list(BASELINES)
        production = open_registry(running_settings()).production_version() if from_database else None
        versions = [] if production is None else [production]
    return list(dict.fromkeys([*names, *(f"v{version}" for version in versions)]))


def choose_reference(names: Sequence[str]) -> str:
    """Choose the model that the others are paired with: the strongest usual baseline among them, else the first."""
    spelled = {normalise_name(name): name for name in names}
    return next((spelled[name] for name in REFERENCES if name in spelled), names[0])
