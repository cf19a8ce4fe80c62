"""A typed title, and the names that were found for it."""

from dataclasses import dataclass
from typing import NamedTuple

from recsys.data.folding import MAX_QUERY_LENGTH, fold_title, fold_width, join_words
from recsys.data.seasons import ParsedTitle, parse_title
from recsys.data.titles.matches import Match
from recsys.data.titles.names import Name


@dataclass(frozen=True)
class Query:
    """A typed title in the forms in which names are indexed."""

    text: str  # no more than 200 characters
    width: str
    folded: str
    parsed: ParsedTitle
    adult: bool  # whether works for adults only may be found

    @classmethod
    def parse(cls, title: str, *, adult: bool) -> "Query":
        """Fold and parse a text."""
        return cls(title[:MAX_QUERY_LENGTH], fold_width(title), fold_title(title), parse_title(title), adult)

    @property
    def series_key(self) -> str:
        """The key of the series that it names."""
        return join_words(self.parsed.name)

    @property
    def states_number(self) -> bool:
        """Whether it says which season, part or year."""
        parsed = self.parsed
        return parsed.is_final or any(value is not None for value in (parsed.season, parsed.part, parsed.year))


class Found(NamedTuple):
    """A name that a query may stand for, and the probability of it."""

    name: Name
    match: Match
    confidence: float
