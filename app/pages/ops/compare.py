"""One user, two versions or algorithms side by side."""

from dataclasses import dataclass
from typing import Any, Final

from fastapi import Request

from app.models.serving import ServingModel
from app.pages.preferences import read_preferences
from app.pages.queries import read_number, read_text
from app.pages.requests import list_algorithms
from app.recommending.recommend import recommend
from app.schemas.problems import ProblemError
from app.schemas.recommendations import RecommendRequest
from app.service import Service
from app.stores.user_history import History, read_history
from recsys.exceptions import RecsysError, UnknownTitleError

LENGTH: Final = 10


@dataclass(frozen=True)
class ComparedItem:
    """A title of one side: its rank there, and on the other side if it is there."""

    item_id: int
    title: str
    rank: int
    other_rank: int | None

    @property
    def move(self) -> str:
        """How it moved against the other side, in words."""
        if self.other_rank is None:
            return "only here"
        step = self.other_rank - self.rank
        return "same place" if not step else f"{abs(step)} {'higher' if step > 0 else 'lower'}"


async def compare(request: Request, service: Service) -> dict[str, Any]:
    """Return the form and, once it is filled in, both lists."""
    models = _list_models(service)
    sides = {
        f"{version}:{name}": (models[version], name) for version in models for name in list_algorithms(models[version])
    }
    who = read_text(request.query_params.get("who"))
    given = [read_text(request.query_params.get(name)) for name in ("a", "b")]
    chosen = [side or standard for side, standard in zip(given, sides, strict=False)]
    values: dict[str, Any] = {"sides": list(sides), "who": who, "chosen": chosen, "lists": None, "trouble": ""}
    if who and all(side in sides for side in chosen):
        try:
            values["lists"] = await _build_lists(request, service, who, [sides[side] for side in chosen])
        except ProblemError as error:
            values["trouble"] = error.detail
        except UnknownTitleError as error:
            values["trouble"] = str(error)
        except RecsysError as error:
            values["trouble"] = f"no list: {type(error).__name__}"
    return values


def _list_models(service: Service) -> dict[int, ServingModel]:
    found = [service.production.current, service.production.previous, service.challenger.model]
    return {model.version: model for model in found if model is not None}


async def _build_lists(
    request: Request, service: Service, who: str, sides: list[tuple[ServingModel, str]]
) -> list[list[ComparedItem]]:
    user_id = read_number(who, 0, 2**63 - 1)
    stored: History | None = None
    if user_id is not None:
        stored = await read_history(service.database, user_id)
        if stored is None:
            raise ProblemError(404, "unknown-user", f"there is no user {user_id}")
    liked = [part.strip() for part in who.split(",") if part.strip()] if user_id is None else []
    preferences = read_preferences(request)

    def build(model: ServingModel, algorithm: str) -> list[tuple[int, str]]:
        """List ids and titles of one model."""
        wanted = RecommendRequest(
            user_input=user_id, liked=liked, algorithm=algorithm, k=LENGTH, adult=service.shows_adult
        )
        found = recommend(model, wanted, lambda _: stored, request_id="").recommendations
        shown = [(entry.item_id, model.item_views.show_item(entry.item_id)) for entry in found]
        return [(item_id, preferences.choose_title(item)) for item_id, item in shown]

    lists = [await service.workers.run(lambda side=side: build(*side)) for side in sides]  # type: ignore[misc]
    ranks = [{item_id: rank for rank, (item_id, _) in enumerate(side, start=1)} for side in lists]
    return [
        [
            ComparedItem(item_id, title, rank, ranks[1 - place].get(item_id))
            for rank, (item_id, title) in enumerate(side, start=1)
        ]
        for place, side in enumerate(lists)
    ]
