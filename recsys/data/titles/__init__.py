"""Titles: which work a typed title names, whatever its spelling, and completions of one that is being typed.

`names` reads the names of a catalog, `index` searches them in this order: `named` whole names, `series` seasons, parts,
years and formats, `abbreviations` acronyms, `parts` parts of names, `typos` misspellings.
"""

from recsys.data.titles.index import MAX_ALTERNATIVES, MIN_PART, TitleIndex
from recsys.data.titles.matches import Match, SearchMatch, TitleCandidate, TitleHit, TitleMatch

__all__ = [
    "MAX_ALTERNATIVES", "MIN_PART", "Match", "SearchMatch", "TitleCandidate", "TitleHit", "TitleIndex", "TitleMatch",
]  # fmt: skip
