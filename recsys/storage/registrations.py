"""Registrations that may come twice: the same client with the same key and content gets the same user."""

import datetime as dt
import hashlib
import json
from collections.abc import Mapping

from sqlalchemy import Connection, insert, select

from recsys.exceptions import IdempotencyKeyReusedError
from recsys.storage.database import advisory_lock
from recsys.storage.tables import registrations
from recsys.storage.users import find_known_items, register_user
from recsys.storage.watch_statuses import store_list
from recsys.types import ItemId, UserId, WatchStatus


def register_once(
    connection: Connection,
    given: Mapping[ItemId, int],
    arrived_on: dt.date,
    *,
    client: str,
    idempotency_key: str | None,
) -> UserId:
    """Register a user with the ratings of known titles, once per client and key; without a key, every time.

    Parameters
    ----------
    given
        Item to rating 1..10, or 0 for a title that was watched and not rated; items in no catalog are left out.
    client
        Whose key it is; two clients may choose the same.

    Raises
    ------
    IdempotencyKeyReusedError
        If the client registered a user with other ratings under this key.
    """
    known = find_known_items(connection, list(given))
    watched = {item_id: rating for item_id, rating in given.items() if item_id in known}
    if idempotency_key is None:
        return _register(connection, watched, arrived_on)
    digest = hashlib.sha256(json.dumps(sorted(given.items())).encode()).hexdigest()
    columns = registrations.c
    before = select(columns.user_id, columns.content_digest).where(
        columns.client == client, columns.idempotency_key == idempotency_key
    )
    # Of two at once the second waits, and finds the user of the first.
    with advisory_lock(connection, f"registration {client} {idempotency_key}"):
        found = connection.execute(before).one_or_none()
        if found is not None:
            if found.content_digest != digest:
                raise IdempotencyKeyReusedError([idempotency_key])
            return int(found.user_id)
        user_id = _register(connection, watched, arrived_on)
        row = {"client": client, "idempotency_key": idempotency_key, "content_digest": digest, "user_id": user_id}
        connection.execute(insert(registrations).values(row))
    return user_id


def _register(connection: Connection, watched: Mapping[ItemId, int], arrived_on: dt.date) -> UserId:
    user_id = register_user(connection, {item_id: rating for item_id, rating in watched.items() if rating}, arrived_on)
    unrated = {item_id: WatchStatus.Completed for item_id, rating in watched.items() if not rating}
    if unrated:
        store_list(connection, user_id, {}, unrated)
    return user_id
