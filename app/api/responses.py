"""Response assembly of `POST /recommend/`: model version, user history, cache, worker thread, shadow."""

import json
from typing import Final

import numpy as np
from fastapi import Request, Response

from app.models.serving import ServingModel
from app.recommending.recommend import recommend
from app.schemas.recommendations import RecommendRequest, RecommendResponse
from app.service import Service
from app.stores.response_cache import build_key
from app.stores.user_history import History, read_history
from recsys.types import Ids

_NO_ID: Final = b'"request_id":""}'


async def build_response(
    request: Request, service: Service, production: ServingModel, query: RecommendRequest
) -> Response:
    """Return the response of one model version; raises as `app.recommending.recommend.recommend`."""
    user_id = query.user_input if isinstance(query.user_input, int) else None
    model = service.challenger.choose(production, user_id)
    stored = await read_history(service.database, user_id) if user_id is not None else None
    key = build_key(
        model.name, str(model.version), model.run_id, stored.digest if stored else "", _canonical_json(query)
    )
    cached = await service.cache.get(key)
    service.metrics.count_cache("miss" if cached is None else "hit")
    if cached is None:
        response = await service.workers.run(lambda: recommend(model, query, lambda _: stored, request_id=""))
        body = response.model_dump_json().encode()
        owner = str(user_id) if stored is not None else ""
        await service.cache.put(key, response.kind.encode() + b"\n" + body, owner)
        request.state.kind = response.kind
        if model is production:
            _shadow(request, service, query, stored, response)
    else:
        name, _, body = cached.partition(b"\n")
        request.state.kind = name.decode()
    service.metrics.count_response(model.version, "production" if model is production else "challenger")
    return Response(_with_id(body, request.state.request_id), media_type="application/json")


def _canonical_json(query: RecommendRequest) -> str:
    # Not `model_dump_json`, which refuses lone surrogates.
    return json.dumps(query.model_dump())


def _with_id(body: bytes, request_id: str) -> bytes:
    """Add the request id, which needs no escaping, as the last field of a body without one."""
    return body.removesuffix(_NO_ID) + f'"request_id":"{request_id}"}}'.encode()


def _shadow(
    request: Request, service: Service, query: RecommendRequest, stored: History | None, response: RecommendResponse
) -> None:
    def compute(model: ServingModel) -> Ids:
        return _list_ids(recommend(model, query, lambda _: stored, request_id=""))

    service.challenger.shadow(request.state.request_id, _list_ids(response), compute)


def _list_ids(response: RecommendResponse) -> Ids:
    return np.array([item.item_id for item in response.recommendations], dtype=np.int64)
