"""Carry histories and lists between two catalogs, so that an old model is evaluated on today's users."""

import numpy as np
from scipy.sparse import csr_matrix

from recsys.data.catalog import Catalog
from recsys.gate.metrics import EMPTY
from recsys.types import Mask, Positions, RatingMatrix


class Translation:
    """Positions of one catalog in another; -1 where a title is missing there."""

    def __init__(self, source: Catalog, target: Catalog) -> None:
        known = target.contains(source.item_ids)
        self.positions = np.full(len(source), EMPTY, dtype=np.intp)
        self.positions[known] = target.positions(source.item_ids[known])
        self._n_target = len(target)
        self._back = np.full(len(target), EMPTY, dtype=np.intp)
        self._back[self.positions[known]] = np.flatnonzero(known)

    def translate(self, history: RatingMatrix) -> RatingMatrix:
        """Move a history into the other catalog; unknown titles drop out."""
        entries = history.tocoo()
        columns = self.positions[entries.col]
        kept = columns >= 0
        shape = (history.shape[0], self._n_target)
        return csr_matrix((entries.data[kept], (entries.row[kept], columns[kept])), shape=shape)

    def translate_mask(self, mask: Mask) -> Mask:
        """Carry a mask over titles, `(n_items,)`, into the other catalog; titles only there are False."""
        carried = np.zeros(self._n_target, dtype=np.bool_)
        carried[self.positions[mask & (self.positions >= 0)]] = True
        return carried

    def back(self, positions: Positions) -> Positions:
        """Move a list back; titles that have left the catalog drop out."""
        returned = self._back[positions]
        return returned[returned >= 0]
