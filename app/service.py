"""The application's services, and the dependencies that give them to a route."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from limits import RateLimitItem

from app.guard.keys import ApiKeys
from app.guard.limits import Quota, RateLimiter
from app.guard.workers import Workers
from app.metrics import ServiceMetrics
from app.metrics.peers import Peers
from app.models.authority import ModelSource
from app.models.challenger import Challenger
from app.models.holder import ModelHolder
from app.models.learned_users import LearnedUsers
from app.models.serving import ServingModel
from app.stores.database import Database
from app.stores.pipeline import PipelineReader
from app.stores.response_cache import ResponseCache


@dataclass(frozen=True)
class Service:
    """Services with the lifetime of the application.

    Parameters
    ----------
    peers
        The other processes of this instance, if it has several.
    shows_adult
        Whether titles for adults only are found and listed where a request says nothing about them.
    uses_scored_lists
        Whether lists that `otaku score` stored are looked up before one is computed.
    """

    source: ModelSource
    production: ModelHolder
    challenger: Challenger
    learned: LearnedUsers
    database: Database
    cache: ResponseCache
    workers: Workers
    explainers: Workers
    metrics: ServiceMetrics
    peers: Peers | None
    api_keys: ApiKeys
    limiter: RateLimiter
    rate_limit: RateLimitItem | None
    feedback_quota: Quota
    registration_quota: Quota
    pipeline: PipelineReader
    shows_adult: bool = False
    uses_scored_lists: bool = False

    @property
    def problems(self) -> list[str]:
        """What is degraded at the moment."""
        return self.production.problems + (["the database does not answer"] if self.database.is_down else [])

    async def render_metrics(self) -> bytes:
        """Return the metrics of all processes of this instance, and of the jobs, in the text format of Prometheus."""
        await self.pipeline.refresh(self.database)
        own = await (self.peers.render() if self.peers else run_in_threadpool(self.metrics.render))
        return own + await run_in_threadpool(self.pipeline.metrics.render)


async def get_service(request: Request) -> Service:
    """Return the services of the application."""
    service: Service = request.app.state.service
    return service


async def get_model(service: Annotated[Service, Depends(get_service)]) -> ServingModel:
    """Return the model version of this request; 503 until one is loaded."""
    return service.production.current


ServiceDep = Annotated[Service, Depends(get_service)]
ModelDep = Annotated[ServingModel, Depends(get_model)]
