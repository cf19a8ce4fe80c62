"""API keys of the service in table `api_keys`: created once, shown once, stored as digests."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select, update

from recsys.exceptions import ConfigurationError
from recsys.storage.tables import api_keys

SCOPES = ("recommend", "write", "metrics", "admin")
_PREFIX = "otaku_"


@dataclass(frozen=True)
class StoredKey:
    """What is known of a key; `rate_limit` is such as `600/minute`, None means the general one."""

    digest: str
    name: str
    scopes: tuple[str, ...]
    rate_limit: str | None


def compute_key_digest(key: bytes) -> str:
    """Compute the digest under which a key is kept: keys are long and random, so one SHA-256 is enough."""
    return hashlib.sha256(key).hexdigest()


def create_api_key(connection: Connection, name: str, scopes: Sequence[str], rate_limit: str | None = None) -> str:
    """Add a key and return it; nobody can read it again.

    Raises
    ------
    ConfigurationError
        If there is no such scope.
    """
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise ConfigurationError(f"there is no scope {', '.join(unknown) or 'in the list'}; use {', '.join(SCOPES)}")
    key = _PREFIX + secrets.token_urlsafe(32)
    row = {"key_digest": compute_key_digest(key.encode()), "name": name, "scopes": list(scopes)}
    connection.execute(insert(api_keys).values(row | {"rate_limit": rate_limit}))
    return key


def revoke_api_keys(connection: Connection, name: str) -> int:
    """Revoke all keys of a name and return how many; the service notices within seconds."""
    standing = update(api_keys).where(api_keys.c.name == name, api_keys.c.revoked_at.is_(None))
    return connection.execute(standing.values(revoked_at=func.now())).rowcount


def read_api_keys(connection: Connection) -> list[StoredKey]:
    """Read all keys that are valid."""
    columns = (api_keys.c.key_digest, api_keys.c.name, api_keys.c.scopes, api_keys.c.rate_limit)
    rows = connection.execute(select(*columns).where(api_keys.c.revoked_at.is_(None)).order_by(api_keys.c.created_at))
    return [StoredKey(row.key_digest, row.name, tuple(row.scopes), row.rate_limit) for row in rows]
