"""Responses to requests for recommendations: model version, user history, cache, worker thread, shadow."""

import json
from dataclasses import dataclass
from typing import Final

import numpy as np

from app.models.serving import ServingModel
from app.recommending.recommend import recommend
from app.schemas.recommendations import RecommendRequest, RecommendResponse
from app.service import Service
from app.stores.response_cache import build_key
from app.stores.user_history import History, read_history
from recsys.types import Ids

_NO_ID: Final = b'"request_id":""}'


@dataclass(frozen=True)
class SerializedResponse:
    """A computed or cached response; `body` is its JSON with an empty request id."""

    model: ServingModel
    kind: str
    body: bytes

    def with_id(self, request_id: str) -> bytes:
        """Return the JSON with a request id, which needs no escaping, as its last field."""
        return self.body.removesuffix(_NO_ID) + f'"request_id":"{request_id}"}}'.encode()

    def parse(self) -> RecommendResponse:
        """Return the response as an object."""
        return RecommendResponse.model_validate_json(self.body)


async def build_response(
    service: Service,
    production: ServingModel,
    query: RecommendRequest,
    request_id: str,
    *,
    shows_history: bool = True,
) -> SerializedResponse:
    """Compute or find the response of one model version; arguments and errors as `app.recommending.recommend`."""
    if query.adult is None:
        query = query.model_copy(update={"adult": service.shows_adult})
    user_id = query.user_input if isinstance(query.user_input, int) else None
    model = service.challenger.choose(production, user_id)
    stored = await read_history(service.database, user_id) if user_id is not None else None
    seen = "" if shows_history else "without history"
    key = build_key(
        model.name, str(model.version), model.run_id, stored.digest if stored else "", _canonical_json(query), seen
    )
    cached = await service.cache.get(key)
    service.metrics.count_cache("miss" if cached is None else "hit")
    if cached is None:
        lane = service.explainers if query.explain else service.workers
        response = await lane.run(lambda: _compute(service, production, model, query, stored, shows_history))
        kind, body = response.kind.encode(), response.model_dump_json().encode()
        await service.cache.put(key, kind + b"\n" + body, str(user_id) if stored is not None else "")
        if model is production:
            _shadow(request_id, service, query, stored, response)
    else:
        kind, _, body = cached.partition(b"\n")
    service.metrics.count_response(model.version, "production" if model is production else "challenger")
    return SerializedResponse(model, kind.decode(), body)


def _compute(
    service: Service,
    production: ServingModel,
    model: ServingModel,
    query: RecommendRequest,
    stored: History | None,
    shows_history: bool,
) -> RecommendResponse:
    """Build the response, after a model that learns users while it serves has learned this one."""
    if stored is not None and model is production and isinstance(query.user_input, int):
        ratings = dict(zip(stored.item_ids.tolist(), stored.ratings.tolist(), strict=True))
        service.learned.learn(model, query.algorithm, query.user_input, ratings)
    return recommend(model, query, lambda _: stored, request_id="", shows_history=shows_history)


def _canonical_json(query: RecommendRequest) -> str:
    # Not `model_dump_json`, which refuses lone surrogates.
    return json.dumps(query.model_dump())


def _shadow(
    request_id: str, service: Service, query: RecommendRequest, stored: History | None, response: RecommendResponse
) -> None:
    def compute(model: ServingModel) -> Ids:
        return _list_ids(recommend(model, query, lambda _: stored, request_id=""))

    service.challenger.shadow(request_id, _list_ids(response), compute)


def _list_ids(response: RecommendResponse) -> Ids:
    return np.array([item.item_id for item in response.recommendations], dtype=np.int64)
