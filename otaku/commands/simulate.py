"""`otaku simulate`: one day of new people."""

from datetime import datetime
from typing import Annotated

import typer


def simulate(
    day: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The day on which they arrive.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say who would arrive and write nothing.")] = False,
) -> None:
    """Let the new users of a day arrive; the same day again changes nothing."""
    from otaku.console import console, running_settings
    from recsys.storage.database import create_database_engine, migrate
    from simulate_new_users.job import add_new_users

    settings = running_settings()
    url = settings.database_url.get_secret_value() if settings.database_url else ""
    engine = create_database_engine(url)
    try:
        migrate(engine)
        report = add_new_users(engine, day.date(), dry_run=dry_run)
    finally:
        engine.dispose()
    console.print(report)
