"""Text vectors kept in S3 by what they were computed from, so that only new or changed synopses are encoded."""

import hashlib
import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from recsys.exceptions import ArtifactError
from recsys.features.text_embeddings import DIMENSIONS, compute_text_digest, embed_texts
from recsys.retrieval.base import read_state, write_state
from recsys.storage.artifacts import MANIFEST, ArtifactStore
from recsys.types import Floats

log = logging.getLogger(__name__)

# Texts encoded between two savings, a few seconds: a killed run loses the work on one pack. A number and not a time, so
# that the batches, and with them the last bits of the vectors, are the same on a busy machine.
PACK: Final = 256


def load_text_vectors(
    store: ArtifactStore,
    texts: Sequence[str],
    model_name: str,
    *,
    place: str = "",
    n_threads: int = 1,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Floats:
    """Return the vector of each text `(n_texts, 384)`, encoding only those that no pack holds.

    Parameters
    ----------
    place
        Key prefix, with its slash, below which new packs are kept; those of all other runs are read as well.
    on_progress
        Called with texts known and texts in total.
    """
    digests = [compute_text_digest(text, model_name) for text in texts]
    prefix = f"embeddings/{hashlib.sha256(model_name.encode()).hexdigest()[:16]}"
    known = _read_packs(store, prefix)
    if place:
        known |= _read_packs(store, f"{place}{prefix}")
    known[compute_text_digest("", model_name)] = np.zeros(DIMENSIONS, dtype=np.float32)
    wanted = {digest: text for digest, text in zip(digests, texts, strict=True) if digest not in known}
    log.info("%d of %d texts are new to %s", len(wanted), len(set(digests)), model_name)
    n_known = len(texts) - len(wanted)
    missing = sorted(wanted)
    for start in range(0, len(missing), PACK):
        part = missing[start : start + PACK]

        def report(done: int, total: int, *, start: int = start, part: Sequence[str] = part) -> None:
            on_progress(n_known + start + len(part) * done // total, len(texts))

        vectors = embed_texts([wanted[digest] for digest in part], model_name, n_threads=n_threads, on_progress=report)
        _write_pack(store, f"{place}{prefix}", part, vectors)
        known.update(zip(part, vectors, strict=True))
    return np.stack([known[digest] for digest in digests])


def _read_packs(store: ArtifactStore, prefix: str) -> dict[str, Floats]:
    """Read all finished packs; one that was damaged is encoded again."""
    known: dict[str, Floats] = {}
    manifests = [key for key in store.list_keys(f"{prefix}/") if key.endswith(f"/{MANIFEST}")]
    with tempfile.TemporaryDirectory(prefix="otaku-") as folder:
        for key in manifests:
            pack = key.removesuffix(f"/{MANIFEST}")
            target = Path(folder) / Path(pack).name
            try:
                store.read_directory(pack, target)
                state = read_state(target / "pack.npz")
            except ArtifactError as error:
                log.warning("a pack of text vectors is damaged and will be encoded again: %s", error)
                continue
            known.update(zip(state["digests"].tolist(), state["vectors"], strict=True))
    return known


def _write_pack(store: ArtifactStore, prefix: str, digests: Sequence[str], vectors: Floats) -> None:
    name = hashlib.sha256("\n".join(digests).encode()).hexdigest()
    with tempfile.TemporaryDirectory(prefix="otaku-") as folder:
        write_state({"digests": np.array(digests), "vectors": vectors}, Path(folder) / "pack.npz")
        store.write_directory(f"{prefix}/{name}", Path(folder))
