"""`/titles/{id}`: one title, where it stands for the visitor, its franchise, and titles like it."""

from typing import Annotated, Any, Final

import numpy as np
from fastapi import APIRouter, Path, Request, Response
from starlette.datastructures import ImmutableMultiDict

from app.models.serving import ServingModel
from app.pages.cards import Card, build_card, build_cards
from app.pages.preferences import Preferences, read_preferences
from app.pages.queries import PageQuery, read_query
from app.pages.rendering import render
from app.pages.requests import build_filters, build_request, is_adult, shows_adult
from app.pages.site import VisitorRoute, get_site
from app.recommending.recommend import build_user_context
from app.schemas.problems import ProblemError
from app.schemas.recommendations import RecommendationReason
from app.service import ModelDep, Service, ServiceDep
from app.stores.user_history import read_history
from recsys.columns import ItemColumns
from recsys.exceptions import ServiceUnavailableError
from recsys.recommender import Recommendations
from recsys.recommender.explaining import explain

N_SIMILAR: Final = 8
MAX_SEASONS: Final = 30
ItemId = Annotated[int, Path(ge=0, lt=2**63)]

router = APIRouter(include_in_schema=False, route_class=VisitorRoute)


@router.get("/titles/{item_id}")
async def get_title(request: Request, service: ServiceDep, model: ModelDep, item_id: ItemId) -> Response:
    """Show a title; the address may hold who is asked for, as that of a list does."""
    query = read_query(ImmutableMultiDict(request.query_params.multi_items()))
    preferences = read_preferences(request)
    model.item_views.show_item(item_id)  # or 404
    adult = shows_adult(service, query)
    if is_adult(model, item_id) and not adult:
        detail = "this title is for adults only; switch them on under “Tune the list” and open it again"
        raise ProblemError(404, "adult-title", detail)
    standing = await _find_standing(request, service, model, query, item_id, preferences)
    values = await service.workers.run(lambda: _describe(model, item_id, preferences, adult=adult))
    return render(request, "title.html", {**values, "query": query, "model": model, "standing": standing})


def _describe(model: ServingModel, item_id: int, preferences: Preferences, *, adult: bool) -> dict[str, Any]:
    allowed = model.filters.allow(build_filters(model, PageQuery().controls), adult=adult)
    found = model.recommender.similar_items(item_id, k=N_SIMILAR + 4, allowed=allowed)
    similar = model.item_views.show_recommendations(found)
    return {
        "card": build_card(model, item_id, preferences),
        "similar": build_cards(model, similar, preferences, length=N_SIMILAR),
        "franchise": _list_franchise(model, item_id, preferences, adult=adult),
    }


def _list_franchise(model: ServingModel, item_id: int, preferences: Preferences, *, adult: bool) -> list[Card]:
    """List the works of the franchise of a title in the order in which they aired; nothing for a title alone."""
    catalog, franchises = model.recommender.catalog, model.recommender.retriever.items.franchises
    own = franchises[int(catalog.positions([item_id])[0])]
    positions = np.flatnonzero(franchises == own)
    aired = catalog.items[ItemColumns.AiredFrom]
    dates = [str(aired.iloc[place]) if aired.iloc[place] is not None else "9" for place in positions]
    ordered = [int(catalog.item_ids[place]) for _, place in sorted(zip(dates, positions.tolist(), strict=True))]
    works = [other for other in ordered if adult or not is_adult(model, other)]
    return [build_card(model, other, preferences) for other in works[:MAX_SEASONS]] if len(works) > 1 else []


async def _find_standing(
    request: Request, service: Service, model: ServingModel, query: PageQuery, item_id: int, preferences: Preferences
) -> dict[str, Any] | None:
    """Tell what the visitor gave or would give, and why; None without favourites, or while the database is away."""
    if query.mode not in ("favourites", "user") or not query.names_someone:
        return None
    stored = None
    if query.mode == "user" and query.user is not None:
        get_site(request).require_user(request, query.user)
        try:
            stored = await read_history(service.database, query.user)
        except ServiceUnavailableError:
            return None
    wanted = build_request(model, query)
    context = build_user_context(model, wanted, lambda _: stored)
    profile = context.profile
    given = dict(zip(profile.item_ids.tolist(), profile.ratings.tolist(), strict=True)).get(item_id)
    if not len(profile.item_ids):
        return None

    def compute() -> dict[str, Any]:
        """Predict the rating of the title, from the rest of the history if it was rated."""
        if given is not None:
            predicted = model.recommender.predict_hidden(profile, np.array([item_id]))
            return {"given": int(given), "predicted": float(predicted[0]), "card": None}
        predicted = model.recommender.predict_ratings(profile, np.array([item_id]))
        alone = Recommendations(np.array([item_id]), np.zeros(1, dtype=np.float32), predicted)
        reasons = [
            RecommendationReason(kind=r.kind, text=r.text, contribution=r.contribution, item_id=r.item_id)
            for r in explain(model.recommender, profile, alone)[0]
        ]
        rating = float(predicted[0])
        return {
            "given": None,
            "predicted": rating,
            "card": build_card(model, item_id, preferences, 1, rating, reasons),
        }

    return await service.workers.run(compute)
