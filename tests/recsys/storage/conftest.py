from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from recsys.storage.database import create_database_engine

N_USERS = 40


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on a fresh database with all tables and no rows."""
    engine = create_database_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of four titles and forty users, with one refused row in each file."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "anime.csv").write_text(
        "MAL_ID,Name,Genders,Episodes,Aired\n"
        '1,Cowboy Bebop,"Action, Space",26,"Apr 3, 1998 to Apr 24, 1999"\n'
        '5,"The ""Movie"", \\ with {braces}",Action,1,2001\n'
        "9,Kaiba ☆,Unknown,12,2008\n"
        "12,Mushishi,Mystery,Unknown,2005\n"
        "twelve,No id,Mystery,1,2005\n"
    )
    (folder / "anime_with_synopsis.csv").write_text("MAL_ID,sypnopsis\n1,They hunt.\n77,Nobody knows it.\n")
    ratings = [f"{user},{item},{1 + (user + item) % 10}" for user in range(N_USERS) for item in (1, 5, 12)]
    (folder / "rating_complete.csv").write_text("\n".join(["user_id,anime_id,rating", *ratings, "3,9,eleven", ""]))
    return folder
