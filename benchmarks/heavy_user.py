"""How long the history of a user takes to read who has said a million things, against one who has said nothing.

`python -m benchmarks.heavy_user --events 1000000` prints both in milliseconds, and their ratio.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import Engine, text

from otaku.platform import postgres
from otaku.platform.local import LocalPlatform
from recsys.settings import Settings
from recsys.storage.database import create_database_engine
from recsys.storage.migration import migrate
from recsys.storage.users import read_user

HEAVY, LIGHT, N_ITEMS, N_READS = 1, 2, 2_000, 50


def fill(engine: Engine, n_events: int) -> None:
    """Write two users and the events of one of them, each about one of a few thousand titles."""
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO otaku.items (item_id, title) SELECT n, n::text FROM generate_series(1, :n) AS n"),
            {"n": N_ITEMS},
        )
        connection.execute(
            text("INSERT INTO otaku.users VALUES (:one, NULL, 'test'), (:other, NULL, 'test')"),
            {"one": HEAVY, "other": LIGHT},
        )
        connection.execute(
            text(
                "INSERT INTO otaku.feedback (idempotency_key, user_id, item_id, kind, rating) "
                "SELECT n::text, :user, 1 + n % :items, 'rating', 1 + n % 10 FROM generate_series(1, :n) AS n"
            ),
            {"user": HEAVY, "items": N_ITEMS, "n": n_events},
        )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


def measure(engine: Engine, user_id: int) -> float:
    """Return the median milliseconds of a read."""
    taken = []
    with engine.connect() as connection:
        for _ in range(N_READS):
            started = time.perf_counter()
            read_user(connection, user_id)
            taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1000


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="otaku-heavy-") as home:
        settings = Settings(_env_file=None, home=Path(home), database_url=None)
        with LocalPlatform(settings, durable=False, parts=(postgres.PART,)) as platform:
            engine = create_database_engine(platform.settings().require_database_url())
            migrate(engine)
            fill(engine, given.events)
            heavy, light = measure(engine, HEAVY), measure(engine, LIGHT)
            engine.dispose()
    found = {"events": given.events, "heavy_ms": heavy, "light_ms": light, "ratio": heavy / light}
    sys.stdout.write(json.dumps({name: round(value, 3) for name, value in found.items()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
