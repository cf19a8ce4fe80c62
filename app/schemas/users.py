"""Users and their feedback."""

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from app.schemas.base import MAX_RATINGS, Id, ItemKey, Rating, RatingOrWatched, RequestModel, ResponseModel
from recsys.types import WatchStatus

MAX_EVENTS = 500
IDEMPOTENCY_KEY = r"^[A-Za-z0-9._:-]{1,100}$"


class NewUser(RequestModel):
    """A user who registers."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ratings": {"1": 9, "5114": 10}}]})

    ratings: dict[ItemKey, RatingOrWatched] = Field(
        {}, max_length=MAX_RATINGS, description="MAL id to rating 1..10, or 0 for a title watched and not rated."
    )


class RegisteredUser(ResponseModel):
    """The new user."""

    user_id: int = Field(examples=[2_000_000_000_000])
    n_ratings: int = Field(description="Ratings that were stored.")
    ignored_item_ids: list[int] = Field(description="Rated ids that are in no catalog.")


class User(ResponseModel):
    """Stored data of a user."""

    user_id: int
    arrived_on: date | None = Field(description="Null for users of the first ingest.")
    ratings: dict[str, int] = Field(description="MAL id to rating 1..10.")
    statuses: dict[str, WatchStatus] = Field(description="MAL id to status, of every entry that has one.")
    dismissed_item_ids: list[int]
    genre_shares: dict[str, float] = Field(description="Genre to its share 0..1 of the watched titles.")


class FeedbackItem(RequestModel):
    """One event."""

    idempotency_key: Annotated[str, StringConstraints(strict=True, pattern=IDEMPOTENCY_KEY)] = Field(
        description="Chosen by the client; a repeated event counts once.", examples=["4f1c-1"]
    )
    user_id: Id
    item_id: Id
    kind: Literal["impression", "click", "rating", "dismissal", "seen", "plan"] = Field(
        description="`seen` and `plan` give the title the status `completed` or `planned`."
    )
    rating: Rating | None = Field(None, description="1..10, with the kind `rating` and no other.")
    rank: int | None = Field(
        None, strict=True, ge=1, le=10_000, description="1-based position in the list that was shown."
    )
    propensity: float | None = Field(
        None, strict=True, gt=0, le=1, allow_inf_nan=False, description="The probability that it was shown there."
    )
    model_version: int | None = Field(None, strict=True, ge=1, lt=2**31, description="The version of the list.")

    @model_validator(mode="after")
    def _rates_if_a_rating(self) -> Self:
        if (self.kind == "rating") != (self.rating is not None):
            raise ValueError("a rating belongs to the kind 'rating' and to no other")
        return self


class FeedbackBatch(RequestModel):
    """Events, oldest first."""

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


class FeedbackResponse(ResponseModel):
    """Result of a batch."""

    n_written: int = Field(description="Events that are new.")
    n_known: int = Field(description="Events that were sent before.")
    unknown: list[str] = Field(description="Idempotency keys of events with unknown user or title.")
