"""What a search for titles answers."""

from dataclasses import dataclass
from typing import Literal

PartMatch = Literal["prefix", "substring", "tokens", "acronym"]
Match = Literal["exact", "alias", "prefix", "substring", "tokens", "acronym", "typo"]
SearchMatch = Literal["exact", "prefix", "substring", "tokens", "acronym", "typo"]


@dataclass(frozen=True)
class TitleCandidate:
    """An item that a title may stand for, and the probability of it (0..1)."""

    item_id: int
    title: str
    confidence: float


@dataclass(frozen=True)
class TitleMatch:
    """The item that a title stands for.

    `match` is exact for its default title, alias for another of its titles or another spelling of one; prefix,
    substring, tokens or acronym where only a part of a title was given; typo for a misspelling.
    """

    item_id: int
    title: str
    match: Match
    confidence: float
    alternatives: list[TitleCandidate]


@dataclass(frozen=True)
class TitleHit:
    """One line of a completion list: `matched` is the spelling that was found."""

    item_id: int
    title: str
    matched: str
    match: SearchMatch
