"""Text vectors kept in S3 by what they were computed from, so that only new or changed synopses are encoded."""

import hashlib
import logging
import tempfile
import time
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

# Texts encoded between two savings: as many as take some seconds at the rate of those before, at most so many. A killed
# run loses the work on one pack.
PACK: Final = 2000
FIRST_PACK: Final = 64
PACK_SECONDS: Final = 15.0


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
    start, size = 0, FIRST_PACK
    while start < len(missing):
        part, begun = missing[start : start + min(size, PACK)], time.monotonic()

        def report(done: int, total: int, *, start: int = start, part: Sequence[str] = part) -> None:
            on_progress(n_known + start + len(part) * done // total, len(texts))

        vectors = embed_texts([wanted[digest] for digest in part], model_name, n_threads=n_threads, on_progress=report)
        _write_pack(store, f"{place}{prefix}", part, vectors)
        known.update(zip(part, vectors, strict=True))
        start += len(part)
        size = choose_size(len(part), time.monotonic() - begun)
    return np.stack([known[digest] for digest in digests])


def choose_size(n_texts: int, seconds: float) -> int:
    """Choose how many texts to encode next, after so many took so long; at most twice as many."""
    return max(1, min(2 * n_texts, round(n_texts * PACK_SECONDS / max(seconds, 1e-3))))


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
