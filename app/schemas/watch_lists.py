"""Watch lists: sent along with a request, or uploaded as a file."""

from typing import Literal

from pydantic import Field

from app.schemas.base import Id, RatingOrWatched, RequestModel, ResponseModel
from recsys.data.lists.scores import ScoreFormat
from recsys.types import WatchStatus


class ListItem(RequestModel):
    """One entry of a list, as `POST /import` returns it."""

    item_id: Id = Field(examples=[5114])
    rating: RatingOrWatched | None = Field(None, description="1..10; null or 0 for an entry without a rating.")
    status: WatchStatus = Field(WatchStatus.Completed, description="How far the user is with it.")


class ImportedItem(ResponseModel):
    """An entry that stands for a title of the catalog."""

    item_id: int
    title: str
    rating: int | None = Field(description="1..10; null where the list has none.")
    status: WatchStatus
    matched_by: Literal["id", "title"]


class UnmatchedItem(ResponseModel):
    """An entry that no title of the catalog stands for."""

    item_id: int | None = Field(description="The MAL id that the list names.")
    title: str | None
    source_id: str | None = Field(description="What the site calls it, where that is not the MAL id.")
    rating: int | None
    status: WatchStatus
    suggestions: list[str] = Field(description="Titles that are perhaps meant, best first.")


class StoredImport(ResponseModel):
    """What was written for a user; 0 where the same was there before."""

    user_id: int
    n_ratings: int = Field(description="Ratings that are new or changed.")
    n_statuses: int = Field(description="Statuses that are new or changed.")
    ignored_item_ids: list[int] = Field(description="Titles of the model that the database no longer holds.")


class ImportResponse(ResponseModel):
    """What a list holds; its entries are the `list` of `POST /recommend/`."""

    format: str = Field(examples=["myanimelist-xml"])
    score_format: ScoreFormat = Field(description="The scale that the scores were read on.")
    n_entries: int = Field(description="Entries for anime in the file.")
    statuses: dict[WatchStatus, int] = Field(description="How many matched entries have each status.")
    notes: dict[str, int] = Field(description="What was left out or taken for something else, and how often.")
    entries: list[ImportedItem] = Field(description="One per title, ascending by id.")
    unmatched: list[UnmatchedItem]
    duplicates: list[ImportedItem] = Field(description="Further entries of titles that are in `entries`.")
    stored: StoredImport | None = Field(description="Null for a preview.")
