"""Where an evaluation takes its data from: a snapshot of the database, or a folder and no service at all."""

import hashlib
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import numpy as np

from recsys.connections import open_engine, open_store
from recsys.data.catalog import Catalog
from recsys.data.interactions import Interactions
from recsys.data.sources.reading import read_source
from recsys.data.sources.reports import OnProgress
from recsys.evaluation.evaluation_set import EvaluationData
from recsys.features.text_embeddings import DIMENSIONS, compute_text_digest, embed_texts
from recsys.retrieval.base import read_state
from recsys.settings import Settings
from recsys.storage.snapshots import read_snapshot, write_snapshot
from recsys.types import Floats

# Texts encoded between two savings: a killed run loses at most the work on one pack.
PACK = 2000


def read_folder(directory: Path, *, on_progress: OnProgress | None = None) -> EvaluationData:
    """Read files of a known layout into memory; nobody counts as arrived later.

    Raises
    ------
    SourceLayoutError
        If the folder or one of its files is in no known layout.
    """
    source = read_source(directory, on_progress=on_progress)
    digest = hashlib.sha256("".join(file.digest for file in source.files).encode()).hexdigest()
    nobody = np.empty(0, dtype=np.int64)
    return EvaluationData(Catalog(source.items), Interactions(source.ratings), nobody, digest)


def freeze_database(settings: Settings, as_of: date | None) -> tuple[EvaluationData, str]:
    """Take a snapshot of the database as of a day and return it with its URI; equal tables are stored once."""
    store = open_store(settings)
    with open_engine(settings) as engine:
        uri = write_snapshot(engine, store, as_of)
    return read_snapshot(store, uri).to_evaluation_data(), uri


def load_text_vectors(
    folder: Path,
    texts: Sequence[str],
    model_name: str,
    *,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Floats:
    """Return the vector of each text `(n_texts, 384)`, kept in a folder by what it was computed from.

    Parameters
    ----------
    on_progress
        Called with texts known and texts in total.
    """
    digests = [compute_text_digest(text, model_name) for text in texts]
    known: dict[str, Floats] = {compute_text_digest("", model_name): np.zeros(DIMENSIONS, dtype=np.float32)}
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.glob("*.npz")):
        state = read_state(path)
        known.update(zip(state["digests"].tolist(), state["vectors"], strict=True))
    wanted = {digest: text for digest, text in zip(digests, texts, strict=True) if digest not in known}
    missing = sorted(wanted)
    for start in range(0, len(missing), PACK):
        part = missing[start : start + PACK]
        vectors = embed_texts([wanted[digest] for digest in part], model_name)
        # Written aside first: a reader never meets half a pack.
        aside = folder / f"{part[0]}.partial"
        with aside.open("wb") as handle:
            np.savez(handle, digests=np.array(part), vectors=vectors)
        aside.rename(folder / f"{part[0]}.npz")
        known.update(zip(part, vectors, strict=True))
        on_progress(len(texts) - len(missing) + start + len(part), len(texts))
    return np.stack([known[digest] for digest in digests])
