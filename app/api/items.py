"""Titles: search, one item, similar items."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query

from app.api.openapi import document_problems
from app.guard.keys import GuardedRoute
from app.recommending.recommend import show_model
from app.schemas.base import Limit
from app.schemas.items import Item, SearchHit, SearchResponse, SimilarResponse
from app.schemas.recommendations import Filters
from app.service import ModelDep, ServiceDep
from recsys.data.folding import MAX_QUERY_LENGTH
from recsys.recommender.list_rules import ListOptions

router = APIRouter(tags=["titles"], route_class=GuardedRoute)
_PROBLEMS = document_problems(401, 403, 408, 422, 429, 503)
_TITLE_PROBLEMS = _PROBLEMS | document_problems(404)
ItemId = Annotated[int, Path(ge=0, lt=2**63, description="The MAL id of a title.")]
Adult = Annotated[
    bool | None,
    Query(
        description="Whether titles for adults only are listed: genre Hentai or age rating Rx. "
        "Without it, as `OTAKU_ADULT` sets it."
    ),
]
Seasons = Annotated[
    Literal["next", "all"],
    Query(description="next: of each franchise at most one title, none before its earlier seasons; all: any."),
]
Text = Annotated[str, Query(min_length=1, max_length=MAX_QUERY_LENGTH, description="What was typed so far.")]


@router.get("/search", operation_id="search", responses=_PROBLEMS)
async def get_search(
    service: ServiceDep, model: ModelDep, q: Text, limit: Limit = 10, adult: Adult = None
) -> SearchResponse:
    """Autocomplete over all spellings of all titles, best match first, then most popular."""
    shown = service.shows_adult if adult is None else adult
    hits = [
        SearchHit(item_id=hit.item_id, title=hit.title, matched=hit.matched, match=hit.match)
        for hit in await service.workers.run(lambda: model.titles.search(q, limit, adult=shown))
    ]
    return SearchResponse(query=q, hits=hits)


@router.get("/items/{item_id}", operation_id="read_item", responses=_TITLE_PROBLEMS)
async def get_item(model: ModelDep, item_id: ItemId) -> Item:
    """Show one title."""
    return model.item_views.show_item(item_id)


@router.get(
    "/items/{item_id}/similar",
    operation_id="similar_items",
    responses=_TITLE_PROBLEMS,
)
async def get_similar(
    service: ServiceDep, model: ModelDep, item_id: ItemId, k: Limit = 10, adult: Adult = None, seasons: Seasons = "next"
) -> SimilarResponse:
    """Show the titles most like one title."""
    allowed = model.filters.allow(Filters(), adult=service.shows_adult if adult is None else adult)
    found = await service.workers.run(
        lambda: model.recommender.similar_items(item_id, k=k, allowed=allowed, options=ListOptions(seasons=seasons))
    )
    return SimilarResponse(
        item_id=item_id,
        title=model.item_views.title(item_id),
        recommendations=model.item_views.show_recommendations(found),
        model=show_model(model),
    )
