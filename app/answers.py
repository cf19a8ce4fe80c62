"""From a request to the bytes of its answer: model, the person's data, the cache, a thread, and the shadow."""

import json
from typing import Final

import numpy as np
from fastapi import Request, Response

from app.cache import build_key
from app.history import History, read_history
from app.recommending import recommend
from app.schemas import RecommendAnswer, RecommendRequest
from app.service import Service
from app.serving import ServingModel
from recsys.types import Ids

_NO_ID: Final = b'"request_id":""}'


async def answer_question(
    request: Request, service: Service, production: ServingModel, question: RecommendRequest
) -> Response:
    """Answer one question with one model version; see `app.recommending.recommend` for what may go wrong."""
    user_id = question.user_input if isinstance(question.user_input, int) else None
    model = service.challenger.choose(production, user_id)
    stored = await read_history(service.database, user_id) if user_id is not None else None
    key = build_key(model.name, str(model.version), model.run_id, stored.digest if stored else "", _spell(question))
    cached = await service.cache.get(key)
    service.metrics.count_cache("miss" if cached is None else "hit")
    if cached is None:
        answer = await service.workers.run(lambda: recommend(model, question, lambda _: stored, request_id=""))
        body = answer.model_dump_json().encode()
        owner = str(user_id) if stored is not None else ""
        await service.cache.put(key, answer.kind.encode() + b"\n" + body, owner)
        request.state.kind = answer.kind
        if model is production:
            _shadow(request, service, question, stored, answer)
    else:
        name, _, body = cached.partition(b"\n")
        request.state.kind = name.decode()
    service.metrics.count_answer(model.version, "production" if model is production else "challenger")
    return Response(_with_id(body, request.state.request_id), media_type="application/json")


def _spell(question: RecommendRequest) -> str:
    # Not `model_dump_json`, which refuses the halves of surrogate pairs that a text may hold.
    return json.dumps(question.model_dump())


def _with_id(body: bytes, request_id: str) -> bytes:
    """Write the id, which is plain, into an answer without one; it is the last field."""
    return body.removesuffix(_NO_ID) + f'"request_id":"{request_id}"}}'.encode()


def _shadow(
    request: Request, service: Service, question: RecommendRequest, stored: History | None, answer: RecommendAnswer
) -> None:
    def compute(model: ServingModel) -> Ids:
        return _list_ids(recommend(model, question, lambda _: stored, request_id=""))

    service.challenger.shadow(request.state.request_id, _list_ids(answer), compute)


def _list_ids(answer: RecommendAnswer) -> Ids:
    return np.array([item.item_id for item in answer.recommendations], dtype=np.int64)
