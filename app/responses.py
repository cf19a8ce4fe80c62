"""Responses to requests for recommendations: model version, user history, cache, worker thread, shadow."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from app.models.serving import ServingModel
from app.recommending.batches import is_plain, recommend_batch
from app.recommending.recommend import find_usable, is_bare, recommend, show_scored
from app.schemas.batches import BatchRequest
from app.schemas.problems import ProblemError
from app.schemas.recommendations import RecommendRequest, RecommendResponse
from app.service import Service
from app.stores.response_cache import build_key
from app.stores.user_history import History, read_histories, read_history
from recsys.exceptions import UnknownTitleError
from recsys.recommender.model import BATCH_LISTS
from recsys.storage.scored_lists import ScoredList, read_scored_list
from recsys.tracing import start_span
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
    stored = await _read_history(service, user_id) if user_id is not None else None
    seen = "" if shows_history else "without history"
    key = build_key(
        model.name, str(model.version), model.run_id, stored.digest if stored else "", _canonical_json(query), seen
    )
    cached = await service.cache.get(key)
    scored = await _read_scored(service, model, query, stored) if cached is None and stored is not None else None
    service.metrics.count_cache("hit" if cached is not None else "miss" if scored is None else "scored")
    if cached is None:
        lane = service.explainers if query.explain else service.workers
        with start_span("compute recommendations", otaku_model_version=model.version, otaku_algorithm=query.algorithm):
            response = await lane.run(
                lambda: (
                    _compute(service, production, model, query, stored, shows_history)
                    if stored is None or scored is None
                    else show_scored(model, query, stored, scored, shows_history=shows_history)
                )
            )
        kind, body = response.kind.encode(), response.model_dump_json().encode()
        await service.cache.put(key, kind + b"\n" + body, str(user_id) if stored is not None else "")
        if model is production:
            _shadow(request_id, service, query, stored, response)
    else:
        kind, _, body = cached.partition(b"\n")
    service.metrics.count_recommendation(kind.decode(), query.algorithm)
    service.metrics.count_response(model.version, "production" if model is production else "challenger")
    return SerializedResponse(model, kind.decode(), body)


async def _read_history(service: Service, user_id: int) -> History | None:
    with start_span("read history"):
        return await read_history(service.database, user_id)


async def _read_scored(
    service: Service, model: ServingModel, query: RecommendRequest, stored: History
) -> ScoredList | None:
    """Read the list that was made beforehand for a request, if such lists are used and it holds for this one."""
    if not service.uses_scored_lists or not is_bare(query) or not isinstance(query.user_input, int):
        return None
    user_id = query.user_input
    with start_span("read scored list"):
        found = await service.database.read(lambda connection: read_scored_list(connection, model.name, user_id))
    return find_usable(found, model, query, stored)


async def build_batch(
    service: Service,
    production: ServingModel,
    batch: BatchRequest,
    request_id: str,
    *,
    shows_history: bool = True,
) -> list[bytes | ProblemError | UnknownTitleError]:
    """Compute or find the responses to many requests, each as JSON, or the error that it ends with.

    Plain lists of one version are made together, a few at a time, so that other requests are answered in between. What
    is computed so is not compared with a challenger.
    """
    adult = {"adult": service.shows_adult}
    queries = [query if query.adult is not None else query.model_copy(update=adult) for query in batch.requests]
    found: dict[int, bytes | ProblemError | UnknownTitleError] = {}
    plain: dict[int, tuple[ServingModel, list[int]]] = {}
    for place, query in enumerate(queries):
        if is_plain(query):
            user_id = query.user_input if isinstance(query.user_input, int) else None
            model = service.challenger.choose(production, user_id)
            plain.setdefault(model.version, (model, []))[1].append(place)
            continue
        try:
            built = await build_response(service, production, query, request_id, shows_history=shows_history)
            found[place] = built.with_id(request_id)
        except (ProblemError, UnknownTitleError) as error:
            found[place] = error
    for model, places in plain.values():
        for start in range(0, len(places), BATCH_LISTS):
            part = places[start : start + BATCH_LISTS]
            together = _Together(model, shows_history, batch.watched)
            outcomes = await _build_together(service, together, [queries[place] for place in part], request_id)
            found |= zip(part, outcomes, strict=True)
            for place in part:
                service.metrics.count_recommendation("batch", queries[place].algorithm)
            service.metrics.count_response(
                model.version, "production" if model is production else "challenger", len(part)
            )
    return [found[place] for place in range(len(queries))]


@dataclass(frozen=True)
class _Together:
    """How lists are made together."""

    model: ServingModel
    shows_history: bool
    shows_watched: bool

    def name(self, query: RecommendRequest, stored: History | None) -> str:
        """Name the cached response."""
        model, digest = self.model, stored.digest if stored else ""
        shown = f"batch {self.shows_history} {self.shows_watched}"
        return build_key(model.name, str(model.version), model.run_id, digest, _canonical_json(query), shown)


async def _build_together(
    service: Service, together: _Together, queries: Sequence[RecommendRequest], request_id: str
) -> list[bytes | ProblemError | UnknownTitleError]:
    histories = await _read_histories(service, queries)
    keys = [together.name(query, stored) for query, stored in zip(queries, histories, strict=True)]
    bodies: list[bytes | ProblemError | UnknownTitleError | None] = [await service.cache.get(key) for key in keys]
    missing = [place for place, body in enumerate(bodies) if body is None]
    for place in range(len(bodies)):
        service.metrics.count_cache("miss" if place in missing else "hit")
    if missing:
        outcomes = await service.workers.run(
            lambda: recommend_batch(
                together.model,
                [queries[place] for place in missing],
                [histories[place] for place in missing],
                shows_history=together.shows_history,
                shows_watched=together.shows_watched,
            )
        )
        for place, outcome in zip(missing, outcomes, strict=True):
            if isinstance(outcome, RecommendResponse):
                body, stored = outcome.model_dump_json().encode(), histories[place]
                await service.cache.put(keys[place], body, str(queries[place].user_input) if stored else "")
                bodies[place] = body
            else:
                bodies[place] = outcome
    return [
        SerializedResponse(together.model, "", body).with_id(request_id) if isinstance(body, bytes) else body
        for body in bodies
        if body is not None
    ]


async def _read_histories(service: Service, queries: Sequence[RecommendRequest]) -> list[History | None]:
    user_ids = {query.user_input for query in queries if isinstance(query.user_input, int)}
    stored = await read_histories(service.database, sorted(user_ids)) if user_ids else {}
    return [stored.get(query.user_input) if isinstance(query.user_input, int) else None for query in queries]


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
        """List the ids that the challenger recommends."""
        return _list_ids(recommend(model, query, lambda _: stored, request_id=""))

    service.challenger.shadow(request_id, _list_ids(response), compute)


def _list_ids(response: RecommendResponse) -> Ids:
    return np.array([item.item_id for item in response.recommendations], dtype=np.int64)
