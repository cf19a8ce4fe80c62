"""What the service accepts and answers, as it stands in the OpenAPI page."""

from datetime import date, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from recsys.data.folding import MAX_QUERY_LENGTH
from recsys.data.titles import Match, SearchMatch
from recsys.ranking.explanations import Kind as ReasonKind

MAX_RATINGS = 10_000
MAX_LIKED = 1_000
MAX_CHOICES = 100
MAX_K = 100
MAX_EVENTS = 500

Kind = Literal["existing_user", "new_user", "new_user_with_preferences", "new_user_with_history", "similar_items"]
Algorithm = Literal["ranker", "user-user", "content", "hybrid", "two-tower", "popular"]
Id = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
ItemKey = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,18}$")]
Title = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=MAX_QUERY_LENGTH)]
Choice = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=100)]
Choices = Annotated[list[Choice], Field(max_length=MAX_CHOICES)]
Weight = Annotated[float, Field(strict=True, ge=0, le=100, allow_inf_nan=False)]
OneWeight = Annotated[list[Weight], Field(min_length=1, max_length=1)]
Rating = Annotated[int, Field(strict=True, ge=1, le=10)]
Year = Annotated[int, Field(strict=True, ge=1900, le=2100)]
Diversity = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Limit = Annotated[int, Field(ge=1, le=MAX_K)]


class Answer(BaseModel):
    """Base of everything that is answered."""

    model_config = ConfigDict(frozen=True)


class Question(BaseModel):
    """Base of everything that is asked; an unknown field is refused, so that a misspelt one is noticed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Filters(Question):
    """Which titles may be recommended; an empty list allows everything."""

    type: Choices = Field([], description="Kinds such as TV or Movie.")
    genres_any: Choices = Field([], description="At least one of these genres.")
    genres_none: Choices = Field([], description="None of these genres.")
    year_min: Year | None = Field(None, description="Aired in this year or later.")
    year_max: Year | None = Field(None, description="Aired in this year or earlier.")
    age_rating: Choices = Field([], description="Age ratings, whole or by their code such as PG-13.")


class RecommendRequest(Question):
    """For whom, and what."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"user_input": 1565, "user_preferences": {}},
                {"user_input": 1234567890, "user_preferences": {"Action": [1]}},
                {"user_input": "Neon Genesis Evangelion", "user_preferences": {}},
                {"ratings": {"1": 9, "5114": 10}, "liked": ["Monster"], "k": 5, "filters": {"type": ["TV"]}},
            ]
        }
    )

    user_input: Id | Title | None = Field(
        None, description="A number is a user id, a text is a title, nothing is somebody without an id."
    )
    user_preferences: dict[Choice, Weight | OneWeight] = Field(
        {},
        max_length=MAX_CHOICES,
        description="Genre to weight, or to a list of one weight; looked at for somebody without ratings.",
    )
    ratings: dict[ItemKey, Rating] = Field({}, max_length=MAX_RATINGS, description="MAL id to rating 1..10.")
    liked: list[Id | Title] = Field([], max_length=MAX_LIKED, description="Titles or MAL ids.")
    algorithm: Algorithm = Field(
        "ranker", description="The whole recommender, or one of its models alone; not every version holds all of them."
    )
    k: int = Field(10, strict=True, ge=1, le=MAX_K, description="How many recommendations.")
    filters: Filters = Filters()
    diversity: Diversity = Field(
        0.0, description="0..1: how much variety may cost; above 0 a franchise comes once while others are left."
    )
    explain: bool = Field(False, strict=True, description="Whether to give reasons; takes several times as long.")

    @field_validator("user_preferences", "ratings", "liked", "filters", mode="before")
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


class NewPerson(Question):
    """Somebody who registers."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ratings": {"1": 9, "5114": 10}}]})

    ratings: dict[ItemKey, Rating] = Field({}, max_length=MAX_RATINGS, description="MAL id to rating 1..10.")


class RegisteredPerson(Answer):
    """The id that somebody has from now on."""

    user_id: int = Field(examples=[2_000_000_000_000])
    n_ratings: int = Field(description="How many ratings were taken.")
    ignored_item_ids: list[int] = Field(description="Rated ids that are in no catalog.")


class Person(Answer):
    """What is kept of a person."""

    user_id: int
    arrived_on: date | None = Field(description="Null for people of the first ingest.")
    ratings: dict[str, int] = Field(description="MAL id to rating 1..10.")
    dismissed_item_ids: list[int]
    genre_shares: dict[str, float] = Field(description="Genre to its share 0..1 of the watched titles.")


class FeedbackItem(Question):
    """One thing that a person did."""

    idempotency_key: Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9._:-]{1,100}$")] = Field(
        description="Chosen by the client; what comes again with the same key counts once.", examples=["4f1c-1"]
    )
    user_id: Id
    item_id: Id
    kind: Literal["impression", "click", "rating", "dismissal"]
    rating: Rating | None = Field(None, description="1..10, with the kind `rating` and no other.")
    rank: int | None = Field(None, strict=True, ge=1, le=10_000, description="The place in the list that was shown.")
    propensity: float | None = Field(
        None, strict=True, gt=0, le=1, allow_inf_nan=False, description="The probability that it was shown there."
    )
    model_version: int | None = Field(None, strict=True, ge=1, lt=2**31, description="The version of the list.")

    @model_validator(mode="after")
    def _rates_if_a_rating(self) -> Self:
        if (self.kind == "rating") != (self.rating is not None):
            raise ValueError("a rating belongs to the kind 'rating' and to no other")
        return self


class FeedbackBatch(Question):
    """Things that people did, oldest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "events": [
                        {"idempotency_key": "4f1c-1", "user_id": 42, "item_id": 1, "kind": "impression", "rank": 1},
                        {"idempotency_key": "4f1c-2", "user_id": 42, "item_id": 1, "kind": "rating", "rating": 9},
                    ]
                }
            ]
        }
    )

    events: list[FeedbackItem] = Field(min_length=1, max_length=MAX_EVENTS)


class FeedbackAnswer(Answer):
    """What became of a batch."""

    n_written: int = Field(description="Events that are new.")
    n_known: int = Field(description="Events that had come before.")
    unknown: list[str] = Field(description="Keys of events of people or titles that do not exist.")


class Alternative(Answer):
    """Another title that was perhaps meant."""

    item_id: int
    title: str
    confidence: float = Field(ge=0, le=1)


class ResolvedTitle(Answer):
    """The title that a text was taken for."""

    item_id: int = Field(examples=[30])
    title: str = Field(examples=["Neon Genesis Evangelion"])
    match: Match
    confidence: float = Field(
        ge=0, le=1, description="1 for a whole title, above 0.9 for a typo, 0.5 to 0.9 for a part of a title."
    )
    alternatives: list[Alternative]


class WatchedItem(Answer):
    """A title that somebody rated, beside what the model would have predicted."""

    item_id: int
    title: str
    rating: int = Field(ge=1, le=10)
    predicted_rating: float = Field(ge=1, le=10)


class GivenReason(Answer):
    """Why a title is recommended."""

    kind: ReasonKind
    text: str = Field(examples=["You liked Monster."])
    contribution: float = Field(
        description="How much of the score it brings; for a liked title by how much the score falls without it."
    )
    item_id: int | None = Field(description="The title that the reason is about, if it is about one.")


class RecommendedItem(Answer):
    """One recommendation."""

    rank: int = Field(ge=1)
    item_id: int = Field(examples=[5114])
    title: str = Field(examples=["Fullmetal Alchemist: Brotherhood"])
    genres: list[str]
    type: str | None
    synopsis: str | None
    predicted_rating: float | None = Field(description="1..10; for similar titles that of somebody without a history.")
    score: float = Field(description="Orders the list; comparable within one answer only.")
    reasons: list[GivenReason] = Field([], description="Weightiest first; given where `explain` is true.")


class ServedModel(Answer):
    """The model version that answered."""

    name: str = Field(examples=["anime-recommender"])
    version: int = Field(examples=[7])
    run_id: str


class RecommendAnswer(Answer):
    """Recommendations, best first."""

    kind: Kind
    resolved: ResolvedTitle | None = Field(description="Given where a title was asked for.")
    watched: list[WatchedItem] = Field(description="The best rated titles of the history, best first, twenty at most.")
    recommendations: list[RecommendedItem]
    ignored_item_ids: list[int] = Field(description="Rated or liked ids that the catalog of this model does not hold.")
    model: ServedModel
    request_id: str


class SearchHit(Answer):
    """One completion of what was typed."""

    item_id: int
    title: str
    matched: str = Field(description="The spelling that was found: a default, English, Japanese or other title.")
    match: SearchMatch


class SearchAnswer(Answer):
    """Completions, best first."""

    query: str
    hits: list[SearchHit]


class Item(Answer):
    """Everything that is shown of a title."""

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


class SimilarAnswer(Answer):
    """Titles like one title, best first."""

    item_id: int
    title: str
    recommendations: list[RecommendedItem]
    model: ServedModel


class ModelCard(ServedModel):
    """The model version that is served."""

    n_items: int
    loaded_at: datetime


class Health(Answer):
    """The state of the service."""

    status: Literal["alive", "ready", "degraded"]
    model_version: int | None = None
    problems: list[str] = Field([], description="What does not work although requests are answered.")
