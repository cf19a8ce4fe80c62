"""The application's services, and the dependencies that give them to a route."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from limits import RateLimitItem

from app.guard.keys import ApiKeys
from app.guard.limits import Quota, RateLimiter
from app.guard.workers import Workers
from app.metrics import ServiceMetrics
from app.models.authority import ModelSource
from app.models.challenger import Challenger
from app.models.learned_users import LearnedUsers
from app.models.production import ProductionModel
from app.models.serving import ServingModel
from app.stores.database import Database
from app.stores.pipeline import PipelineReader
from app.stores.response_cache import ResponseCache


@dataclass(frozen=True)
class Service:
    """Services with the lifetime of the application.

    Parameters
    ----------
    shows_adult
        Whether titles for adults only are found and listed where a request says nothing about them.
    """

    source: ModelSource
    production: ProductionModel
    challenger: Challenger
    learned: LearnedUsers
    database: Database
    cache: ResponseCache
    workers: Workers
    explainers: Workers
    metrics: ServiceMetrics
    api_keys: ApiKeys
    limiter: RateLimiter
    rate_limit: RateLimitItem | None
    feedback_quota: Quota
    registration_quota: Quota
    pipeline: PipelineReader
    shows_adult: bool = False

    @property
    def problems(self) -> list[str]:
        """What is degraded at the moment."""
        return self.production.problems + (["the database does not answer"] if self.database.is_down else [])


async def get_service(request: Request) -> Service:
    """Return the services of the application."""
    service: Service = request.app.state.service
    return service


async def get_model(service: Annotated[Service, Depends(get_service)]) -> ServingModel:
    """Return the model version of this request; 503 until one is loaded."""
    return service.production.current


ServiceDep = Annotated[Service, Depends(get_service)]
ModelDep = Annotated[ServingModel, Depends(get_model)]
