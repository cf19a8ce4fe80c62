"""The item side of a version in its folder."""

from pathlib import Path

import numpy as np
import pandas as pd

from recsys.data.catalog import Catalog
from recsys.exceptions import ArtifactError
from recsys.features.item_side import ItemSide
from recsys.retrieval.base import read_state, sparse_from_state, sparse_to_state, write_state


def save_items(items: ItemSide, directory: Path) -> None:
    """Write what the item side consists of, but for the LightFM vectors: they stand with the first stage."""
    items.catalog.items.to_parquet(directory / "catalog.parquet", index=False)
    write_state({"vectors": items.text_vectors}, directory / "text_vectors.npz")
    write_state(sparse_to_state(items.title_neighbours), directory / "title_neighbours.npz")


def load_items(directory: Path) -> ItemSide:
    """Read what `save_items` and the first stage wrote.

    Raises
    ------
    ArtifactError
        If a file is missing, truncated or altered.
    """
    try:
        frame = pd.read_parquet(directory / "catalog.parquet")
    except (OSError, ValueError) as error:
        raise ArtifactError(f"catalog.parquet cannot be read: {error}") from error
    return ItemSide(
        catalog=Catalog(frame),
        text_vectors=read_state(directory / "text_vectors.npz")["vectors"].astype(np.float32, copy=False),
        title_neighbours=sparse_from_state(read_state(directory / "title_neighbours.npz")),
        lightfm_vectors=read_state(directory / "lightfm.npz")["vectors"],
    )
