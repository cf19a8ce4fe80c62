"""Registration, stored data, deletion, and feedback of users."""

import datetime as dt
from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Header, Path, Request, Response
from sqlalchemy import Connection

from app.api.openapi import document_problems
from app.guard.keys import GuardedRoute, get_address, get_client_name
from app.schemas.problems import ProblemError
from app.schemas.users import IDEMPOTENCY_KEY, FeedbackBatch, FeedbackResponse, NewUser, RegisteredUser, User
from app.service import ServiceDep
from recsys.storage import users as stored_users
from recsys.storage.feedback import FeedbackEvent, write_feedback
from recsys.storage.registrations import register_once
from recsys.storage.tables import OPINION_KINDS

router = APIRouter(tags=["users"], route_class=GuardedRoute)
UserId = Annotated[int, Path(ge=0, lt=2**63, description="The id of a user.")]
ClientName = Annotated[str, Depends(get_client_name)]
RegistrationKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=IDEMPOTENCY_KEY,
        description="Chosen by the client; the same key and ratings give the same user.",
    ),
]
_PROBLEMS = (401, 403, 408, 422, 429, 503)


@router.post(
    "/users", operation_id="register_user", status_code=201, responses=document_problems(400, 409, 413, *_PROBLEMS)
)
async def post_user(
    service: ServiceDep,
    request: Request,
    response: Response,
    client: ClientName,
    user: Annotated[NewUser, Body()],
    idempotency_key: RegistrationKey = None,
) -> RegisteredUser:
    """Register a user with their ratings, once per `Idempotency-Key`; recommendations are available at once."""
    await service.registration_quota.take(f"client {client or get_address(request)}")
    given = {int(item_id): rating for item_id, rating in user.ratings.items()}

    def register(connection: Connection) -> tuple[int, set[int]]:
        """Add the user once, and look the rated titles up."""
        today = dt.datetime.now(dt.UTC).date()
        user_id = register_once(connection, given, today, client=client, idempotency_key=idempotency_key)
        return user_id, stored_users.find_known_items(connection, list(given))

    user_id, known = await service.database.write(register)
    response.headers["Location"] = f"/users/{user_id}"
    n_ratings = sum(given[item_id] > 0 for item_id in known)
    return RegisteredUser(user_id=user_id, n_ratings=n_ratings, ignored_item_ids=sorted(set(given) - known))


@router.get("/users/{user_id}", operation_id="read_user", responses=document_problems(404, *_PROBLEMS))
async def get_user(service: ServiceDep, user_id: UserId) -> User:
    """Return everything stored about a user that affects recommendations."""
    found = await service.database.read(lambda connection: stored_users.read_user(connection, user_id))
    if found is None:
        raise _build_unknown(user_id)
    return User(
        user_id=user_id,
        arrived_on=found.arrived_on,
        ratings={str(item_id): rating for item_id, rating in found.ratings.items()},
        statuses={str(item_id): status for item_id, status in found.statuses.items()},
        dismissed_item_ids=list(found.dismissed_item_ids),
        genre_shares=dict(found.genre_shares),
    )


@router.delete(
    "/users/{user_id}", operation_id="delete_user", status_code=204, responses=document_problems(404, *_PROBLEMS)
)
async def delete_user(service: ServiceDep, user_id: UserId) -> None:
    """Delete a user with all ratings, statuses, preferences and feedback, from caches and from what models learned."""
    found = await service.database.write(lambda connection: stored_users.delete_user(connection, user_id))
    await service.cache.invalidate(str(user_id))
    service.learned.forget(service.production.served, user_id)
    if not found:
        raise _build_unknown(user_id)


@router.post("/feedback", operation_id="send_feedback", responses=document_problems(400, 409, 413, *_PROBLEMS))
async def post_feedback(
    service: ServiceDep, client: ClientName, batch: Annotated[FeedbackBatch, Body()]
) -> FeedbackResponse:
    """Record feedback events; a rated, dismissed, seen or planned title leaves the user's next list."""
    events = [FeedbackEvent(**event.model_dump()) for event in batch.events]
    for user_id, n_events in Counter(event.user_id for event in events).items():
        await service.feedback_quota.take(f"user {user_id}", n_events)
    report = await service.database.write(lambda connection: write_feedback(connection, events, client))
    for owner in {str(event.user_id) for event in events if event.kind in OPINION_KINDS}:
        await service.cache.invalidate(owner)
    return FeedbackResponse(n_written=report.n_written, n_known=report.n_known, unknown=list(report.unknown))


def _build_unknown(user_id: int) -> ProblemError:
    return ProblemError(404, "unknown-user", f"there is no user {user_id}")
