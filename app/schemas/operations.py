"""Health, and the model version that is served."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from app.schemas.base import ResponseModel


class ServedModel(ResponseModel):
    """The model version of a response."""

    name: str = Field(examples=["anime-recommender"])
    version: int = Field(examples=[7])
    run_id: str


class ModelInfo(ServedModel):
    """The model version that is served."""

    n_items: int
    loaded_at: datetime


class Health(ResponseModel):
    """The state of the service."""

    status: Literal["alive", "ready", "degraded"]
    model_version: int | None = None
    problems: list[str] = Field([], description="What does not work although requests are answered.")
