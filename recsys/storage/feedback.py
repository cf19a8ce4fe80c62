"""What users did with what they were shown: appended by the service, read by the job that learns from it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from recsys.exceptions import IdempotencyKeyReusedError
from recsys.storage.tables import feedback, items, users
from recsys.types import ItemId, UserId

FeedbackKind = Literal["impression", "click", "rating", "dismissal", "seen", "plan"]


@dataclass(frozen=True)
class FeedbackEvent:
    """One thing that happened.

    Parameters
    ----------
    idempotency_key
        Unique for a client; an event that comes again with the same key is the same event.
    rating
        1..10 where the kind is `rating`, else None.
    rank, propensity, model_version
        Where in the list it was shown, with what probability 0..1, and by which version; None where unknown.
    """

    idempotency_key: str
    user_id: UserId
    item_id: ItemId
    kind: FeedbackKind
    rating: int | None = None
    rank: int | None = None
    propensity: float | None = None
    model_version: int | None = None


@dataclass(frozen=True)
class FeedbackReport:
    """What became of a batch: how many events are new, how many had come before, and which name nobody or nothing."""

    n_written: int
    n_known: int
    unknown: tuple[str, ...]


def write_feedback(connection: Connection, events: Sequence[FeedbackEvent], client: str = "") -> FeedbackReport:
    """Append a batch of events, each once however often it comes.

    Parameters
    ----------
    client
        Whose idempotency keys they are; two clients may choose the same.

    Returns
    -------
    The idempotency keys under `unknown` belong to events of users or titles that do not exist; they are skipped.

    Raises
    ------
    IdempotencyKeyReusedError
        If the client sent other content with one of the keys before; the transaction must be rolled back.
    """
    user_ids = {event.user_id for event in events}
    titles = {event.item_id for event in events}
    # Locked, so that nobody is deleted between this look and the insert.
    known_users = (
        select(users.c.user_id).where(users.c.user_id.in_(user_ids)).with_for_update(read=True, key_share=True)
    )
    here = set(connection.scalars(known_users))
    there = set(connection.scalars(select(items.c.item_id).where(items.c.item_id.in_(titles))))
    # In the order given: of two ratings of a title in one batch, the last one counts.
    rows = [asdict(event) for event in events if event.user_id in here and event.item_id in there]
    unknown = [event for event in events if event.user_id not in here or event.item_id not in there]
    written = 0
    if rows:
        keys = ["client", "idempotency_key"]
        new = insert(feedback).values([row | {"client": client} for row in rows])
        new_ids = connection.scalars(new.on_conflict_do_nothing(index_elements=keys).returning(feedback.c.feedback_id))
        written = len(new_ids.all())
        if written < len(rows):
            _check_repeated(connection, rows, client)
    return FeedbackReport(written, len(rows) - written, tuple(event.idempotency_key for event in unknown))


def _check_repeated(connection: Connection, rows: Sequence[Mapping[str, Any]], client: str) -> None:
    """Compare events with what is stored under their keys."""
    names = list(rows[0])
    wanted = {row["idempotency_key"] for row in rows}
    query = select(*(feedback.c[name] for name in names)).where(
        feedback.c.client == client, feedback.c.idempotency_key.in_(wanted)
    )
    stored = {row["idempotency_key"]: dict(row) for row in connection.execute(query).mappings()}
    reused = sorted({row["idempotency_key"] for row in rows if stored[row["idempotency_key"]] != row})
    if reused:
        raise IdempotencyKeyReusedError(reused)
