"""The users of a cohort and their ratings: read from the queue, generated where the queue is empty."""

import datetime as dt
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Row, select

from recsys.columns import Columns
from recsys.data.interactions import Interactions
from recsys.data.splits import TRAIN, assign_groups
from recsys.data.watch_statuses import WatchStatuses
from recsys.exceptions import ArrivalError, NothingIngestedError
from recsys.storage.database import read_frame
from recsys.storage.tables import future_users, ratings, users
from recsys.types import Ids
from simulate_new_users.arrivals import FIRST_GENERATED_ID, IDS_PER_DAY, build_generated_id
from simulate_new_users.generation import fit_population, generate_ratings

logger = logging.getLogger(__name__)

# Users that the generated ones of a day are modelled on: enough for near neighbours, and a bound on the time of a day.
N_MODELS = 500


@dataclass(frozen=True)
class Cohort:
    """Users who arrive together with ratings and statuses; none of them is in `users` yet."""

    user_ids: Ids
    interactions: Interactions
    n_generated: int
    statuses: WatchStatuses


def read_cohort(connection: Connection, day: dt.date, positions: range) -> Cohort:
    """Read the users at these positions of the queue that are not known yet, and generate the missing ones.

    Raises
    ------
    ArrivalError
        If an id is not free.
    NothingIngestedError
        If users must be generated and there are no users to model them on.
    """
    query = select(future_users).where(future_users.c.position.in_(positions)).order_by(future_users.c.position)
    queue = connection.execute(query).all()
    taken = {row.position for row in queue}
    places = [place for place, position in enumerate(positions) if position not in taken]
    real_ids = np.array([row.user_id for row in queue], dtype=np.int64)
    generated_ids = np.array([build_generated_id(day, place) for place in places], dtype=np.int64)
    known = _read_known(connection, np.concatenate([real_ids, generated_ids]))
    _check_ids(day, real_ids, generated_ids, known)
    if known.size:
        logger.info("%d users of the cohort of %s are known by now and do not arrive again", known.size, day)

    arriving = [row for row in queue if row.user_id not in known]
    tables = [_unnest(arriving)]
    if places:
        tables += [
            _generate(day, members, _read_models(connection, day, group))
            for group, members in _group_places(day, places).items()
        ]
    return Cohort(
        user_ids=np.array([row.user_id for row in arriving] + generated_ids.tolist(), dtype=np.int64),
        interactions=Interactions(pd.concat(tables, ignore_index=True)),
        n_generated=len(places),
        statuses=WatchStatuses(_unnest_statuses(arriving)),
    )


def _read_known(connection: Connection, user_ids: Ids) -> Ids:
    query = select(users.c.user_id).where(users.c.user_id.in_(user_ids.tolist()))
    return np.array(connection.scalars(query).all(), dtype=np.int64)


def _check_ids(day: dt.date, real_ids: Ids, generated_ids: Ids, known: Ids) -> None:
    reserved = real_ids[real_ids >= FIRST_GENERATED_ID]
    if reserved.size:
        raise ArrivalError(
            f"user {reserved[0]} waits in the queue with an id that is reserved for generated users; "
            f"ingest users with ids below {FIRST_GENERATED_ID}"
        )
    collisions = np.intersect1d(generated_ids, known)
    if collisions.size:
        raise ArrivalError(
            f"user {collisions[0]} exists although {day} has no row in `arrivals`; "
            f"delete the users of batch 'arrival:{day}' or put its row back"
        )


def _group_places(day: dt.date, places: Sequence[int]) -> dict[str, list[int]]:
    """Group the places of generated users by what they will be used for: training, validation or test."""
    groups = assign_groups([build_generated_id(day, place) for place in places]).tolist()
    return {group: [place for place, other in zip(places, groups, strict=True) if other == group] for group in groups}


def _read_models(connection: Connection, day: dt.date, group: str) -> Interactions:
    """Read the ratings of some users known from ingestion or held back: a set no simulated day can change.

    Users are modelled on users of their own group; a training user who resembled a test user would carry what
    that one hides into the training. Where a group is empty, training users are used.
    """
    known = connection.scalars(select(users.c.user_id).where(users.c.arrived_on.is_(None))).all()
    waiting = connection.scalars(select(future_users.c.user_id)).all()
    everybody = np.unique(np.array([*known, *waiting], dtype=np.int64))
    groups = assign_groups(everybody)
    candidates = everybody[groups == (group if group in groups else TRAIN)]
    rng = np.random.default_rng([day.toordinal(), IDS_PER_DAY + 1])
    models = rng.choice(candidates, size=min(N_MODELS, len(candidates)), replace=False)

    ingested = np.intersect1d(models, np.array(known, dtype=np.int64)).tolist()
    rated = select(*(ratings.c[name] for name in Columns.Interactions)).where(ratings.c.user_id.in_(ingested))
    held_back = select(future_users).where(future_users.c.user_id.in_(np.setdiff1d(models, ingested).tolist()))
    tables = [read_frame(connection, rated), _unnest(connection.execute(held_back).all())]
    interactions = Interactions(pd.concat([table for table in tables if len(table)] or tables[1:], ignore_index=True))
    if not len(interactions):
        raise NothingIngestedError(
            f"the queue is empty for {day} and there are no users to model new ones on; "
            "ingest ratings first (`otaku ingest DIR`)"
        )
    return interactions


def _generate(day: dt.date, places: Sequence[int], models: Interactions) -> pd.DataFrame:
    population = fit_population(models)
    # A seed [n, 0] would repeat the stream of the seed n, hence the one.
    tables = [generate_ratings(population, np.random.default_rng([day.toordinal(), place + 1])) for place in places]
    return pd.concat(
        [
            table.assign(**{Columns.User: build_generated_id(day, place)})
            for place, table in zip(places, tables, strict=True)
        ]
    )


def _unnest(rows: Sequence[Row[Any]]) -> pd.DataFrame:
    """Turn rows of `future_users` into one row per rating."""
    return (
        _unnest_arrays(rows, "item_ids", "ratings")
        .astype({"ratings": np.int8})
        .rename(columns={"ratings": Columns.Rating})
    )


def _unnest_statuses(rows: Sequence[Row[Any]]) -> pd.DataFrame:
    """Turn rows of `future_users` into one row per status."""
    return _unnest_arrays(rows, "status_item_ids", "statuses").rename(columns={"statuses": Columns.Status})


def _unnest_arrays(rows: Sequence[Row[Any]], item_ids: str, values: str) -> pd.DataFrame:
    user_ids = np.array([row.user_id for row in rows], dtype=np.int64)
    lists = [row._mapping[item_ids] for row in rows]
    return pd.DataFrame(
        {
            Columns.User: np.repeat(user_ids, [len(items) for items in lists]),
            Columns.Item: np.array([item for items in lists for item in items], dtype=np.int64),
            values: [value for row in rows for value in row._mapping[values]],
        }
    )
