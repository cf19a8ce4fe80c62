"""Rule out, in one vectorised pass, the spellings that cannot be similar enough to a query.

Jaro similarity of texts of `a` and `b` characters with `m` matching characters and `t` transpositions is
`(m/a + m/b + (m - t)/m) / 3`. `m` can be no larger than the number of characters that both texts share, each counted
as often as it occurs in both, and counting groups of characters together instead of characters can only raise that
number `M`. So `(M/a + M/b + 1) / 3` is an upper bound, and the Winkler bonus for a common prefix of up to four
characters grows with it: what is ruled out here is below the threshold for certain.

The bound also holds for the share of equal characters `1 - d/max(a, b)` with `d` edits: texts `d` edits apart share at
least `max(a, b) - d` characters, so their share is at most `M / max(a, b)`, which is no more than the bound.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.types import Positions

_GROUPS = 128  # characters by code modulo 128: plain letters and digits have a group of their own
_PREFIX = 4
_PREFIX_WEIGHT = 0.1
_ROUNDING = 1e-5


@dataclass(frozen=True)
class SpellingIndex:
    """Lengths, first characters and character counts of many spellings of at most 255 characters each."""

    lengths: npt.NDArray[np.float32]  # (n,)
    prefixes: npt.NDArray[np.int32]  # (4, n): code points, 0 behind the end
    counts: npt.NDArray[np.uint8]  # (128, n): how often a spelling holds a character of each group

    @classmethod
    def build(cls, spellings: Sequence[str]) -> "SpellingIndex":
        """Count the characters of each spelling."""
        lengths = np.array([len(spelling) for spelling in spellings], dtype=np.intp)
        signs = _code_points("".join(spellings))
        rows = np.repeat(np.arange(len(spellings)), lengths)
        counts = np.zeros((_GROUPS, len(spellings)), dtype=np.uint8)
        np.add.at(counts, (signs % _GROUPS, rows), 1)
        prefixes = np.zeros((_PREFIX, len(spellings)), dtype=np.int32)
        starts = np.cumsum(lengths) - lengths
        for place in range(_PREFIX):
            long_enough = lengths > place
            prefixes[place, long_enough] = signs[starts[long_enough] + place]
        return cls(lengths.astype(np.float32), prefixes, counts)

    def prune(self, query: str, threshold: float) -> Positions:
        """Return the spellings whose similarity to a query of at most 255 characters may pass a threshold.

        None that does pass is missing, as long as one character is one grapheme: `recsys.data.folding.fold_title` sees
        to it for titles with letters or digits.
        """
        if not query or not len(self.lengths):
            return np.empty(0, dtype=np.intp)
        signs = _code_points(query)
        shared = self._count_shared(signs)
        jaro = (shared / self.lengths + shared / np.float32(len(query)) + 1) / 3
        equal = np.ones(len(self.lengths), dtype=bool)
        prefix = np.zeros(len(self.lengths), dtype=np.float32)
        for place, sign in enumerate(signs[:_PREFIX]):
            equal &= self.prefixes[place] == sign
            prefix += equal
        bound = jaro + _PREFIX_WEIGHT * prefix * (1 - jaro)
        return np.flatnonzero(bound > threshold - _ROUNDING)

    def prune_edits(self, query: str, edits: int) -> Positions:
        """Return the spellings that may be at most so many edits away from a query of at most 255 characters.

        None that is so near is missing: with `d` edits the longer text keeps all but `d` of its characters.
        """
        if not query or not len(self.lengths):
            return np.empty(0, dtype=np.intp)
        near = np.flatnonzero(np.abs(self.lengths - np.float32(len(query))) <= edits)
        shared = self._count_shared(_code_points(query), near)
        return near[shared >= np.maximum(self.lengths[near], np.float32(len(query))) - edits]

    def _count_shared(
        self, signs: npt.NDArray[np.int32], places: Positions | slice = slice(None)
    ) -> npt.NDArray[np.uint8]:
        """Count the characters that spellings share with a text, as an upper bound."""
        shared = np.zeros(len(self.lengths[places]), dtype=np.uint8)
        for group, count in Counter((signs % _GROUPS).tolist()).items():
            shared += np.minimum(self.counts[group][places], np.uint8(count))
        return shared


def _code_points(text: str) -> npt.NDArray[np.int32]:
    return np.frombuffer(text.encode("utf-32-le"), dtype=np.int32)
