"""`POST /recommend/`: the request and the response."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints, field_validator

from app.schemas.base import (
    MAX_CANDIDATES,
    MAX_CHOICES,
    MAX_K,
    MAX_LIKED,
    MAX_RATINGS,
    Choice,
    Choices,
    Diversity,
    Id,
    ItemKey,
    OneWeight,
    Popularity,
    RatingOrWatched,
    RequestModel,
    ResponseModel,
    Title,
    Weight,
    Year,
)
from app.schemas.operations import ServedModel
from app.schemas.watch_lists import ListItem
from recsys.data.titles import Match
from recsys.ranking.explanations import Kind as ReasonKind
from recsys.recommender.retriever import RANKER
from recsys.retrieval.registry import list_algorithms

Kind = Literal["existing_user", "new_user", "new_user_with_preferences", "new_user_with_history", "similar_items"]


def _list_algorithms(schema: dict[str, Any]) -> None:
    schema["enum"] = [RANKER, *list_algorithms()]


# Any name is accepted here; a version that does not hold it refuses it with the names of those it holds.
Algorithm = Annotated[str, StringConstraints(strict=True, max_length=100), Field(json_schema_extra=_list_algorithms)]


class Filters(RequestModel):
    """Which titles may be recommended; an empty list allows everything."""

    type: Choices = Field([], description="Kinds such as TV or Movie.")
    genres_any: Choices = Field([], description="At least one of these genres.")
    genres_none: Choices = Field([], description="None of these genres.")
    year_min: Year | None = Field(None, description="Aired in this year or later.")
    year_max: Year | None = Field(None, description="Aired in this year or earlier.")
    age_rating: Choices = Field([], description="Age ratings, whole or by their code such as PG-13.")


class RecommendRequest(RequestModel):
    """Who gets recommendations, and which."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"user_input": 1565, "user_preferences": {}},
                {"user_input": 1234567890, "user_preferences": {"Action": [1]}},
                {"user_input": "Neon Genesis Evangelion", "user_preferences": {}},
                {"ratings": {"1": 9, "5114": 10}, "liked": ["Monster"], "k": 5, "filters": {"type": ["TV"]}},
                {"list": [{"item_id": 1, "rating": 9}, {"item_id": 19, "status": "planned"}], "planned": "first"},
            ]
        }
    )

    user_input: Id | Title | None = Field(
        None, description="A number is a user id, a string is a title, null is an anonymous user."
    )
    user_preferences: dict[Choice, Weight | OneWeight] = Field(
        {},
        max_length=MAX_CHOICES,
        description="Genre to weight, or to a list of one weight; used for users without ratings.",
    )
    ratings: dict[ItemKey, RatingOrWatched] = Field(
        {},
        max_length=MAX_RATINGS,
        description="MAL id to rating 1..10, or 0 for watched and not rated: excluded, and no taste is learnt.",
    )
    watch_list: list[ListItem] = Field(
        [],
        alias="list",
        max_length=MAX_RATINGS,
        description="Entries with a rating, a status or both, as `POST /import` returns them; stored nowhere.",
    )
    planned: Literal["exclude", "first"] = Field(
        "exclude", description="Whether planned titles are kept out of the list or ranked before all others."
    )
    liked: list[Id | Title] = Field([], max_length=MAX_LIKED, description="Titles or MAL ids.")
    algorithm: Algorithm = Field(
        RANKER,
        description="The whole recommender, or one of its models alone; not every version holds all of them.",
    )
    k: int = Field(10, strict=True, ge=1, le=MAX_K, description="How many recommendations.")
    filters: Filters = Filters()
    diversity: Diversity = Field(0.0, description="0..1: how much variety may cost; above 0 a franchise comes once.")
    popularity: Popularity = Field(
        0.0, description="-1..1: from titles that few know to those that everybody knows; 0 is as learnt."
    )
    seasons: Literal["next", "all"] | None = Field(
        None,
        description="next: of each franchise at most one title, whose earlier seasons are all watched; all: any. "
        "null is next, or all where `candidates` are given.",
    )
    candidates: list[Id] = Field(
        [], max_length=MAX_CANDIDATES, description="MAL ids of the only titles to rank, such as a plan to watch."
    )
    adult: bool | None = Field(
        None,
        strict=True,
        description="Whether titles for adults only may be found and listed: genre Hentai or age rating Rx. "
        "null is as `OTAKU_ADULT` sets it, false by default.",
    )
    explain: bool = Field(False, strict=True, description="Add reasons to the first 20; several times slower.")

    @field_validator("user_preferences", "ratings", "watch_list", "liked", "candidates", "filters", mode="before")
    @classmethod
    def _null_is_nothing(cls, value: Any, info: Any) -> Any:
        return cls.model_fields[info.field_name].default if value is None else value

    @property
    def genre_weights(self) -> dict[str, float]:
        """Genre to weight, without the genres of weight zero."""
        flat = {
            genre: weight[0] if isinstance(weight, list) else weight for genre, weight in self.user_preferences.items()
        }
        return {genre: weight for genre, weight in flat.items() if weight > 0}


class Alternative(ResponseModel):
    """Another title that matches."""

    item_id: int
    title: str
    confidence: float = Field(ge=0, le=1)


class ResolvedTitle(ResponseModel):
    """The title that a text resolved to."""

    item_id: int = Field(examples=[30])
    title: str = Field(examples=["Neon Genesis Evangelion"])
    match: Match
    confidence: float = Field(
        ge=0, le=1, description="1 for a whole title, above 0.9 for a typo, 0.5 to 0.9 for a part of a title."
    )
    alternatives: list[Alternative]


class WatchedItem(ResponseModel):
    """A rated title with the rating that the model predicts."""

    item_id: int
    title: str
    rating: int = Field(ge=1, le=10)
    predicted_rating: float = Field(ge=1, le=10)


class RecommendationReason(ResponseModel):
    """Why a title is recommended."""

    kind: ReasonKind
    text: str = Field(examples=["You liked Monster."])
    contribution: float = Field(
        description="Its part of the score; for a liked title the drop of the score without it."
    )
    item_id: int | None = Field(description="The title that the reason is about, if it is about one.")


class SeasonBefore(ResponseModel):
    """A season that comes before a recommended one."""

    item_id: int
    title: str


class RecommendedItem(ResponseModel):
    """One recommendation."""

    rank: int = Field(ge=1)
    item_id: int = Field(examples=[5114])
    title: str = Field(examples=["Fullmetal Alchemist: Brotherhood"])
    genres: list[str]
    type: str | None
    synopsis: str | None
    predicted_rating: float | None = Field(description="1..10; for similar titles that of an anonymous user.")
    score: float = Field(description="Orders the list; comparable within one response only.")
    reasons: list[RecommendationReason] = Field(
        [], description="Strongest first; empty unless `explain` is true, and after the 20th title."
    )
    unseen_before: list[SeasonBefore] = Field(
        [], description="Earlier seasons that the user has not watched, the first one first."
    )


class RecommendResponse(ResponseModel):
    """Recommendations, best first."""

    kind: Kind
    resolved: ResolvedTitle | None = Field(description="Set if user_input is a title.")
    watched: list[WatchedItem] = Field(description="The best rated titles of the history, best first, twenty at most.")
    recommendations: list[RecommendedItem]
    ignored_item_ids: list[int] = Field(description="Rated or liked ids that the catalog of this model does not hold.")
    model: ServedModel
    request_id: str
