"""`otaku demo`: the whole loop, end to end, on one machine."""

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from otaku.demo.narrator import Narrator
    from otaku.platform.local import LocalPlatform
    from recsys.settings import Settings

N_USERS, N_ITEMS, N_RATINGS, SEED = 600, 800, 40_000, 7


def demo(
    data: Annotated[
        Path | None,
        typer.Option(
            exists=True, file_okay=False, help="Folder with real data, as for otaku ingest. [default: a sample]"
        ),
    ] = None,
    weeks: Annotated[int, typer.Option(min=1, max=52, help="Weeks to live through, one retraining each.")] = 3,
    json_file: Annotated[
        Path | None, typer.Option("--json", dir_okay=False, help="Write decisions, metrics and timings to this file.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave services and data; otaku down stops them.")] = False,
    by_airflow: Annotated[
        bool, typer.Option("--airflow", help="Let a local Airflow run the days and weeks, by backfill.")
    ] = False,
) -> None:
    """Bring everything up, ingest, let users arrive, retrain weekly, gate, promote, serve and ask; tell the story."""
    from otaku.console import console, read_settings
    from otaku.demo.loop import Story
    from otaku.demo.narrator import Narrator

    narrator, story = Narrator(console), Story()
    with story.timed("all"), _home(read_settings(), keep=keep) as given:
        _tell(given, data, weeks, keep=keep, by_airflow=by_airflow, narrator=narrator, story=story)
    if json_file is not None:
        json_file.write_text(json.dumps(story.to_dict(), indent=1))
        console.print(f"The story is in {json_file}.")
    console.print(f"\nDone in {story.seconds['all']:.0f} s.")


@contextmanager
def _home(given: "Settings", *, keep: bool) -> Iterator["Settings"]:
    """Give a run that is not kept a home and services of its own: it starts from nothing and leaves nothing.

    Invented users have no place in a database that the settings name, nor may they move its registry.
    """
    if keep:
        yield given
        return
    given.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=given.home, prefix="demo-", ignore_cleanup_errors=True) as home:
        outside = (
            "database_url",
            "s3_endpoint_url",
            "mlflow_tracking_uri",
            "aws_access_key_id",
            "aws_secret_access_key",
            "airflow_url",
        )
        yield given.model_copy(update={"home": Path(home), **dict.fromkeys(outside)})


def _tell(
    given: "Settings",
    data: Path | None,
    weeks: int,
    *,
    keep: bool,
    by_airflow: bool,
    narrator: "Narrator",
    story: Any,
) -> None:
    from otaku.demo import loop
    from otaku.platform import airflow
    from otaku.platform.environment import export_settings
    from otaku.platform.local import PARTS, LocalPlatform

    # With its schedules off: it runs the weeks of the story and nothing else.
    parts = (*PARTS, airflow.make_part(clock=False)) if by_airflow else PARTS
    narrator.chapter("The platform comes up")
    with story.timed("platform up"), _running(LocalPlatform(given, parts=parts), keep=keep) as platform:
        settings = platform.settings()
        export_settings(settings)
        _show_urls(platform, narrator)
        narrator.chapter("Data come in")
        with narrator.watching(), _source(data, narrator, story) as directory:
            loop.ingest(settings, directory, story, narrator)
        with _calendar(platform, narrator, by_airflow=by_airflow) as live_a_week:
            for week in range(1, weeks + 1):
                narrator.chapter(f"Week {week}")
                with narrator.watching():
                    live_a_week(settings, week, story, narrator)
        _serve(given, keep=keep, narrator=narrator, story=story)
    if keep and by_airflow:
        narrator.say("Airflow's schedules are off; [bold]otaku down[/] and [bold]otaku up[/] turn them on.")


@contextmanager
def _calendar(platform: "LocalPlatform", narrator: "Narrator", *, by_airflow: bool) -> Iterator[Callable[..., None]]:
    """Give what lives through a week: the step functions in this process, or Airflow."""
    if not by_airflow:
        from otaku.demo import loop

        yield loop.live_a_week
        return
    from otaku.demo import scheduled
    from otaku.platform import airflow

    password = airflow.read_password(platform.home)
    with scheduled.open_scheduler(platform) as client:
        narrator.say(f"Watch Airflow at {client.url} (user {airflow.USER}, password [bold]{password}[/]).")
        yield lambda settings, *rest: scheduled.live_a_week(settings, client, *rest)


@contextmanager
def _running(platform: "LocalPlatform", *, keep: bool) -> Iterator["LocalPlatform"]:
    if keep:
        platform.bring_up(detached=True)
        yield platform
    else:
        with platform:
            yield platform


def _show_urls(platform: "LocalPlatform", narrator: "Narrator") -> None:
    for health in platform.report():
        narrator.say(f"[green]✓[/] {health.name} at {health.url or health.variable}")


@contextmanager
def _source(data: Path | None, narrator: "Narrator", story: Any) -> Iterator[Path]:
    from recsys.data.sample_world import write_sample_world

    if data is not None:
        yield data
        return
    with tempfile.TemporaryDirectory(prefix="otaku-world-") as folder:
        world = Path(folder) / "world"
        with story.timed("sample world"):
            write_sample_world(world, n_users=N_USERS, n_items=N_ITEMS, n_ratings=N_RATINGS, seed=SEED)
        narrator.say(f"A sample world: {N_USERS} users, {N_ITEMS} anime, {N_RATINGS} ratings, seed {SEED}.")
        yield world


def _serve(given: "Settings", *, keep: bool, narrator: "Narrator", story: Any) -> None:
    from otaku.demo import questions
    from otaku.platform import app_service
    from otaku.platform.local import PARTS, LocalPlatform

    narrator.chapter("The service answers")
    if not any(week["action"] == "promote" for week in story.weeks):
        narrator.say("No challenger was promoted, so that there is nothing to serve; more users or weeks would help.")
        return
    with _running(LocalPlatform(given, parts=(*PARTS, app_service.PART)), keep=keep) as platform:
        settings = platform.settings()
        with story.timed("service ready"):
            model = questions.wait_until_ready(settings)
        narrator.say(
            f"[green]✓[/] http://127.0.0.1:{settings.port}/docs serves {model['name']} version {model['version']}"
        )
        for question in questions.build_questions(settings):
            exchange = questions.ask(settings, question)
            story.answers.append(exchange)
            narrator.answered(question.title, exchange)
        if keep:
            narrator.say(
                "\nEverything is left running: [bold]otaku status[/] shows where, [bold]otaku down[/] stops it."
            )
