"""Titles of the catalog: search, one item, similar items."""

from pydantic import Field

from app.schemas.base import ResponseModel
from app.schemas.operations import ServedModel
from app.schemas.recommendations import RecommendedItem
from recsys.data.titles import SearchMatch


class SearchHit(ResponseModel):
    """One search result."""

    item_id: int
    title: str
    matched: str = Field(description="The spelling that was found: a default, English, Japanese or other title.")
    match: SearchMatch


class SearchResponse(ResponseModel):
    """Search results, best first."""

    query: str
    hits: list[SearchHit]


class Item(ResponseModel):
    """All public fields of a title."""

    item_id: int
    title: str
    title_english: str | None
    title_japanese: str | None
    synonyms: list[str]
    genres: list[str]
    studios: list[str]
    type: str | None
    source: str | None
    age_rating: str | None
    episodes: int | None
    year: int | None
    mean_score: float | None
    members: int | None
    synopsis: str | None


class SimilarResponse(ResponseModel):
    """Similar titles, best first."""

    item_id: int
    title: str
    recommendations: list[RecommendedItem]
    model: ServedModel
