"""Seconds of an ingest by stage, beside the bare COPY of the same ratings into the same tables.

    python benchmarks/ingest.py FOLDER [--hold-back SHARE] [--output FILE.json]

FOLDER is in one of the layouts that `otaku ingest` reads. The reference is what PostgreSQL alone takes: COPY of ratings
that are clean, sorted and spelt already, with the keys and constraints of the table. An ingest reads, checks, refuses,
arranges users, computes preferences and freezes a snapshot besides. Both write to an embedded PostgreSQL, in turn.
"""

import argparse
import json
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
from parts.reporting import build_table
from rich.console import Console
from sqlalchemy import Engine, text

from otaku.platform import object_store, postgres
from otaku.platform.local import LocalPlatform
from recsys.columns import Columns
from recsys.connections import open_store
from recsys.data.sources.reading import read_source
from recsys.settings import Settings
from recsys.storage.artifacts import ArtifactStore
from recsys.storage.database import create_database_engine, upsert_rows
from recsys.storage.ingestion import ingest_directory
from recsys.storage.migration import migrate
from recsys.storage.tables import items, users

ROUNDS = 3


@dataclass
class Stages:
    """Seconds by stage, from the calls of a progress callback."""

    seconds: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.perf_counter)

    def report(self, stage: str, _done: float, _total: float) -> None:
        """Add what passed since the last call to the stage of this one."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now


def empty(engine: Engine) -> None:
    """Empty all tables that an ingest fills."""
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE otaku.items, otaku.users, otaku.future_users, otaku.quarantine CASCADE"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CHECKPOINT"))


def copy_bare(engine: Engine, folder: Path) -> tuple[float, int]:
    """COPY the ratings of a folder into the table; return the seconds, and how many they are."""
    empty(engine)
    source = read_source(folder)
    ids = source.ratings[[Columns.User]].drop_duplicates().assign(batch_id="copy")
    with engine.begin() as connection:
        upsert_rows(connection, items, source.items[source.item_columns])
        upsert_rows(connection, users, ids)
    content = BytesIO()
    table = pa.Table.from_pandas(source.ratings.assign(source="file"), preserve_index=False)
    pyarrow.csv.write_csv(table, content, pyarrow.csv.WriteOptions(include_header=False))
    content.seek(0)
    raw = engine.raw_connection()
    start = time.perf_counter()
    with closing(raw.cursor()) as cursor:
        cursor.copy_expert("COPY otaku.ratings (user_id, item_id, rating, source) FROM STDIN (FORMAT csv)", content)
    raw.commit()
    seconds = time.perf_counter() - start
    raw.close()
    return seconds, len(source.ratings)


def ingest(engine: Engine, store: ArtifactStore, folder: Path, hold_back: float) -> tuple[float, dict[str, float]]:
    """Ingest a folder; return the seconds, and those by stage."""
    empty(engine)
    stages = Stages()
    start = time.perf_counter()
    ingest_directory(folder, engine, store, hold_back=hold_back, on_progress=stages.report)
    return time.perf_counter() - start, stages.seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="data in a layout that `otaku ingest` reads")
    parser.add_argument("--hold-back", type=float, default=0.0, help="share of the users who arrive later")
    parser.add_argument("--output", type=Path, help="write all results as JSON")
    given = parser.parse_args()
    rounds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="otaku-bench-") as name:
        home = Path(name)
        settings = Settings(_env_file=None, home=home, database_url=None)
        with LocalPlatform(settings, durable=False, parts=(object_store.PART, postgres.PART)) as platform:
            engine = create_database_engine(platform.settings().require_database_url())
            migrate(engine)
            store = open_store(platform.settings())
            store.ensure_bucket()
            for number in range(ROUNDS):
                bare, n_ratings = copy_bare(engine, given.folder)
                whole, stages = ingest(engine, store, given.folder, given.hold_back)
                rounds.append({"n_ratings": n_ratings, "copy_seconds": bare, "seconds": whole, "stages": stages})
                sys.stderr.write(f"round {number + 1} of {ROUNDS}: COPY {bare:.2f} s, ingest {whole:.2f} s\n")
            engine.dispose()
    best = sorted(rounds, key=lambda one: one["seconds"] / one["copy_seconds"])[ROUNDS // 2]
    table = build_table(f"Ingest of {best['n_ratings']:,} ratings", ["stage", "seconds", "share"])
    for stage, seconds in sorted(best["stages"].items(), key=lambda one: -one[1]):
        table.add_row(stage, f"{seconds:.2f}", f"{seconds / best['seconds']:.0%}")
    console = Console(width=100)
    console.print(table)
    for what, seconds in (("COPY", best["copy_seconds"]), ("ingest", best["seconds"])):
        console.print(f"{what}: {seconds:.2f} s, {best['n_ratings'] / seconds:,.0f} ratings/s")
    console.print(f"share of the speed of COPY: {best['copy_seconds'] / best['seconds']:.2f}")
    if given.output:
        given.output.write_text(json.dumps(rounds, indent=1) + "\n")


if __name__ == "__main__":
    main()
