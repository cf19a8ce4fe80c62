"""What all request and response models share: base classes and annotated field types."""

from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from recsys.data.folding import MAX_QUERY_LENGTH

MAX_RATINGS = 10_000
MAX_LIKED = 1_000
MAX_CANDIDATES = 500
MAX_CHOICES = 100
MAX_K = 100
# Of one object in a request, and of a request.
MAX_FIELDS = 100
MAX_ERRORS = 100


def _to_whole(value: Any) -> Any:
    """Take 8.0 for 8, as JSON does; anything else is left to the checks."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Id = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
ItemKey = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,18}$")]
Title = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=MAX_QUERY_LENGTH)]
Choice = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=100)]
Choices = Annotated[list[Choice], Field(max_length=MAX_CHOICES)]
Weight = Annotated[float, Field(strict=True, ge=0, le=100, allow_inf_nan=False)]
OneWeight = Annotated[list[Weight], Field(min_length=1, max_length=1)]
Rating = Annotated[int, Field(strict=True, ge=1, le=10), BeforeValidator(_to_whole)]
# 0: watched, not rated.
RatingOrWatched = Annotated[int, Field(strict=True, ge=0, le=10), BeforeValidator(_to_whole)]
Popularity = Annotated[float, Field(strict=True, ge=-1, le=1, allow_inf_nan=False)]
Year = Annotated[int, Field(strict=True, ge=1900, le=2100)]
Diversity = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Limit = Annotated[int, Field(ge=1, le=MAX_K)]


class ResponseModel(BaseModel):
    """Base of response models."""

    model_config = ConfigDict(frozen=True)


class RequestModel(BaseModel):
    """Base of request models; unknown fields are refused.

    A request that is wrong in very many places is refused with one error instead of one for each: to list a hundred
    thousand takes longer than to answer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="wrap")
    @classmethod
    def _bound_errors(cls, data: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(data, dict) and len(data) > MAX_FIELDS:
            raise PydanticCustomError("too_many_fields", f"{len(data)} fields; no request has more than {MAX_FIELDS}")
        for name, value in data.items() if isinstance(data, dict) else ():
            if isinstance(value, dict | list) and len(value) > MAX_RATINGS:
                message = f"{len(value)} entries; no field has more than {MAX_RATINGS}"
                error = InitErrorDetails(type=PydanticCustomError("too_many_entries", message), loc=(name,), input=None)
                raise ValidationError.from_exception_data(cls.__name__, [error])
        try:
            return validate(data)
        except ValidationError as error:
            if error.error_count() > MAX_ERRORS:
                raise PydanticCustomError("too_many_errors", f"wrong in {error.error_count()} places") from None
            raise
