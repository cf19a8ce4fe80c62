"""What one application holds, and how a request gets at it."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from app.history import HistoryReader
from app.metrics import ServiceMetrics
from app.security import ApiKeys
from app.serving import ProductionModel, ServingModel


@dataclass(frozen=True)
class Service:
    """The parts that live as long as the application."""

    production: ProductionModel
    history: HistoryReader
    metrics: ServiceMetrics
    api_keys: ApiKeys


async def get_service(request: Request) -> Service:
    """Return the parts of the application that a request came to."""
    service: Service = request.app.state.service
    return service


async def get_model(service: Annotated[Service, Depends(get_service)]) -> ServingModel:
    """Return the model for the whole of one request; 503 until there is one."""
    return service.production.current


ServiceDep = Annotated[Service, Depends(get_service)]
ModelDep = Annotated[ServingModel, Depends(get_model)]
