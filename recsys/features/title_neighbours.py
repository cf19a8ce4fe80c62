"""Which titles share a name: the seasons, films and specials of one franchise."""

import numpy as np
from scipy.sparse import csr_matrix, vstack
from sklearn.feature_extraction.text import TfidfVectorizer

from recsys.columns import ItemColumns
from recsys.data.catalog import Catalog
from recsys.types import RatingMatrix

MIN_COSINE = 0.35
CHUNK = 1000


def compute_title_neighbours(catalog: Catalog) -> RatingMatrix:
    """Compare all titles by the character trigrams of their names.

    Returns
    -------
    CSR `(n_items, n_items)` of TF-IDF cosines, float32, entries of at least 0.35 only; the larger of the cosines of the
    default and of the English titles.
    """
    similarities = [
        _compare([title or "" for title in catalog.items[column]])
        for column in (ItemColumns.Title, ItemColumns.TitleEnglish)
    ]
    nearest = similarities[0].maximum(similarities[1]).tocsr()
    nearest.sort_indices()
    return nearest


def _compare(titles: list[str]) -> RatingMatrix:
    if not any(titles):
        return csr_matrix((len(titles), len(titles)), dtype=np.float32)
    grams = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3), sublinear_tf=True, dtype=np.float32)
    vectors = grams.fit_transform(titles)
    blocks = []
    for start in range(0, len(titles), CHUNK):
        block = (vectors[start : start + CHUNK] @ vectors.T).tocsr()
        block.data[block.data < MIN_COSINE] = 0.0
        block.eliminate_zeros()
        blocks.append(block)
    return vstack(blocks, format="csr", dtype=np.float32)
