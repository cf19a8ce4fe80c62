"""From the query of a page to a request for recommendations, over what one model version knows."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from app.models.serving import ServingModel
from app.pages.queries import Controls, PageQuery
from app.schemas.recommendations import Filters, RecommendRequest
from app.schemas.watch_lists import ListItem
from app.service import Service
from recsys.recommender.retriever import RANKER
from recsys.types import WatchStatus

MUSIC: Final = "Music"
SPARE: Final = 5  # titles asked for beyond the length, in place of those that the visitor put aside


def drop_defaults(model: ServingModel, query: PageQuery) -> PageQuery:
    """Take away a choice of kinds that says what holds without it: a form without a script sends every ticked box."""
    if set(query.controls.types) == set(model.filters.types.masks) - {MUSIC}:
        return query.change(types=())
    return query


def build_request(
    model: ServingModel, query: PageQuery, entries: Sequence[ListItem] = (), *, explain: bool = True
) -> RecommendRequest:
    """Build the request of a page; titles and values that the model does not know are left out."""
    controls = query.controls
    favourites = {item_id: query.favourites[item_id] for item_id in keep_known(model, query.favourites)}
    ratings = {str(item_id): rating for item_id, rating in favourites.items() if rating is not None}
    # Rated 0 is: known, to be left out of list and taste.
    ratings |= dict.fromkeys(map(str, keep_known(model, [*query.dismissed, *controls.left_out])), 0)
    planned = [ListItem(item_id=item_id, status=WatchStatus.Planned) for item_id in keep_known(model, query.planned)]
    who: dict[str, dict[str, Any]] = {
        "favourites": {"liked": [item_id for item_id, rating in favourites.items() if rating is None]},
        "user": {"user_input": query.user},
        "list": {},
        "taste": {"user_preferences": {name: float(weight) for name, weight in _keep_genres(model, query).items()}},
        "like": {"user_input": query.like},
        "together": {},
    }
    history: dict[str, Any] = (
        {} if query.mode in ("like", "taste") else {"ratings": ratings, "list": [*entries, *planned]}
    )
    return RecommendRequest.model_validate(
        {
            **who[query.mode],
            **history,
            "algorithm": controls.algorithm if controls.algorithm in list_algorithms(model) else RANKER,
            "k": controls.length + SPARE,
            "filters": build_filters(model, controls),
            "diversity": controls.variety / 100,
            "planned": "first" if controls.planned_first else "exclude",
            "adult": True if controls.adult else None,
            "popularity": -controls.niche / 100,
            "seasons": "all" if controls.all_seasons else "next",
            "explain": explain,
        }
    )


def list_algorithms(model: ServingModel) -> list[str]:
    """List the algorithms that a version holds, the whole recommender first."""
    return [RANKER, *model.recommender.retriever.generators]


def build_filters(model: ServingModel, controls: Controls) -> Filters:
    """Build the filters; music videos are left out unless their type is chosen."""
    known = model.filters
    types = [value for value in controls.types if value in known.types.masks]
    if not types and MUSIC in known.types.masks:
        types = [value for value in known.types.masks if value != MUSIC]
    return Filters(
        type=types,
        genres_any=[value for value in controls.genres if value in known.genres.masks],
        genres_none=[value for value in controls.no_genres if value in known.genres.masks],
        year_min=controls.year_from,
        year_max=controls.year_to,
        age_rating=[value for value in controls.ages if value in known.age_ratings.masks],
    )


def keep_known(model: ServingModel, item_ids: Iterable[int]) -> list[int]:
    """Keep the ids that the catalog of a version holds, in their order."""
    given = list(item_ids)
    return [item_id for item_id, known in zip(given, model.recommender.catalog.contains(given), strict=True) if known]


def shows_adult(service: Service, query: PageQuery) -> bool:
    """Whether a page shows titles for adults only: if the visitor switched them on, or the setting shows them."""
    return query.controls.adult or service.shows_adult


def is_adult(model: ServingModel, item_id: int) -> bool:
    """Whether a title is for adults only."""
    return bool(model.filters.adult[int(model.recommender.catalog.positions([item_id])[0])])


def _keep_genres(model: ServingModel, query: PageQuery) -> dict[str, int]:
    return {genre: weight for genre, weight in query.genres.items() if genre in model.filters.genres.masks}
