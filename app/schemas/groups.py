"""`POST /recommend/group`: one list for several users."""

from typing import Literal

from pydantic import ConfigDict, Field

from app.schemas.base import (
    MAX_CHOICES,
    MAX_K,
    MAX_LIKED,
    MAX_RATINGS,
    Choice,
    Id,
    ItemKey,
    OneWeight,
    RatingOrWatched,
    RequestModel,
    ResponseModel,
    Title,
    Weight,
)
from app.schemas.operations import ServedModel
from app.schemas.recommendations import Filters
from app.schemas.watch_lists import ListItem

MAX_GROUP = 5


class GroupMember(RequestModel):
    """One user of a group: an id, or what an anonymous user sends along."""

    user_input: Id | None = Field(None, description="A user id; null is an anonymous user.")
    user_preferences: dict[Choice, Weight | OneWeight] = Field({}, max_length=MAX_CHOICES)
    ratings: dict[ItemKey, RatingOrWatched] = Field({}, max_length=MAX_RATINGS)
    watch_list: list[ListItem] = Field([], alias="list", max_length=MAX_RATINGS)
    liked: list[Id | Title] = Field([], max_length=MAX_LIKED)


class GroupRequest(RequestModel):
    """Who watches together, and which list they want."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"members": [{"user_input": 1565}, {"ratings": {"1": 9}, "liked": ["Monster"]}], "k": 5}]
        }
    )

    members: list[GroupMember] = Field(min_length=2, max_length=MAX_GROUP)
    k: int = Field(10, strict=True, ge=1, le=MAX_K, description="How many recommendations.")
    filters: Filters = Filters()
    seasons: Literal["next", "all"] = Field(
        "next", description="next: of each franchise at most one title that is the next one for everyone."
    )
    adult: bool | None = Field(
        None, strict=True, description="As in `POST /recommend/`; null is as `OTAKU_ADULT` sets it."
    )


class MemberShare(ResponseModel):
    """What a title is for one member."""

    percentile: float = Field(ge=0, le=100, description="Share of the titles considered that the member likes less.")
    predicted_rating: float = Field(ge=1, le=10)


class GroupItem(ResponseModel):
    """One recommendation for a group."""

    rank: int = Field(ge=1)
    item_id: int
    title: str
    genres: list[str]
    type: str | None
    score: float = Field(
        ge=0, le=1, description="Probability that the title is the first choice of a member, averaged over the members."
    )
    mean_percentile: float = Field(ge=0, le=100)
    members: list[MemberShare] = Field(description="In the order of the request.")


class GroupResponse(ResponseModel):
    """Recommendations for a group, best first; titles below the 10th percentile of a member come last."""

    recommendations: list[GroupItem]
    model: ServedModel
    request_id: str
