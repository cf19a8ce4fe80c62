"""Training data of the ranker on disk, so that rankers that differ in features or trees describe candidates once."""

from pathlib import Path
from typing import Final

import numpy as np

from recsys.features.schema import FeatureSchema
from recsys.ranking.ranker import HEADS, TrainingTable
from recsys.recommender.fitting import TrainingData
from recsys.recommender.retriever import Retriever
from recsys.recommender.training import HeadTables

_PARTS: Final = ("train", "validation")


def write_training_data(training_data: TrainingData, folder: Path) -> None:
    """Write all tables; the retriever is not among them. A folder that was left half-written is written anew."""
    (folder / "done").unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    for part in _PARTS:
        tables: HeadTables = getattr(training_data, part)
        tables.schema.save(folder / "schema.json")
        for head in HEADS:
            table: TrainingTable = getattr(tables, head)
            np.save(folder / f"{part}-{head}-features.npy", table.features)
            np.save(folder / f"{part}-{head}-labels.npy", table.labels)
            if table.group_sizes is not None:
                np.save(folder / f"{part}-{head}-sizes.npy", table.group_sizes)
    (folder / "done").write_text(str(training_data.n_users))


def read_training_data(folder: Path, retriever: Retriever) -> TrainingData | None:
    """Read what `write_training_data` completed, else None; features stay on disk until they are used."""
    if not (folder / "done").exists():
        return None
    schema = FeatureSchema.load(folder / "schema.json")
    train, validation = (
        HeadTables(schema, **{head: _read_table(folder, f"{part}-{head}") for head in HEADS}) for part in _PARTS
    )
    return TrainingData(retriever, train, validation, int((folder / "done").read_text()))


def _read_table(folder: Path, name: str) -> TrainingTable:
    sizes = folder / f"{name}-sizes.npy"
    return TrainingTable(
        np.load(folder / f"{name}-features.npy", mmap_mode="r"),
        np.load(folder / f"{name}-labels.npy"),
        np.load(sizes) if sizes.exists() else None,
    )
