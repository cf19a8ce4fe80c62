"""`otaku demo`: the whole platform, end to end, on one machine."""

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from otaku.demo.console_output import ConsoleOutput
    from otaku.demo.steps import DemoReport
    from otaku.platform.local import LocalPlatform
    from recsys.settings import Settings

N_USERS, N_ITEMS, N_RATINGS, SEED = 600, 800, 40_000, 7


def demo(
    data: Annotated[
        Path | None,
        typer.Option(
            exists=True, file_okay=False, help="Folder with real data, as for otaku ingest. [default: synthetic data]"
        ),
    ] = None,
    weeks: Annotated[int, typer.Option(min=1, max=52, help="Weeks to simulate, one retraining each.")] = 3,
    json_file: Annotated[
        Path | None, typer.Option("--json", dir_okay=False, help="Write decisions, metrics and timings to this file.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep services and data afterwards; otaku down stops them.")
    ] = False,
    by_airflow: Annotated[
        bool, typer.Option("--airflow", help="Run the days and weeks in a local Airflow, by backfill.")
    ] = False,
    algorithms: Annotated[
        bool, typer.Option("--algorithms", help="Send every kind of request to every algorithm of the model.")
    ] = False,
) -> None:
    """Start the platform, ingest, add users daily, retrain weekly, gate, promote, serve and send requests."""
    from otaku.console import console, read_settings
    from otaku.demo.console_output import ConsoleOutput
    from otaku.demo.steps import DemoReport

    output, report = ConsoleOutput(console), DemoReport()
    with report.timed("all"), _open_home(read_settings(), keep=keep) as given:
        options = {"keep": keep, "by_airflow": by_airflow, "algorithms": algorithms}
        if data is None and given.relevance_boosters is None:
            # The sample world is soon learnt: a second booster of each loss would only take its time.
            given = given.model_copy(update={"relevance_boosters": 1})
        _run(given, data, weeks, **options, output=output, report=report)
    if json_file is not None:
        json_file.write_text(json.dumps(report.to_dict(), indent=1))
        console.print(f"The report is in {json_file}.", soft_wrap=True)
    console.print(f"\nDone in {report.seconds['all']:.0f} s.")
    if not report.consistency["ok"]:
        raise typer.Exit(1)


@contextmanager
def _open_home(given: "Settings", *, keep: bool) -> Iterator["Settings"]:
    """Give a run without `--keep` a temporary home and services of its own.

    Synthetic users must not enter a database or registry that the settings name.
    """
    if keep:
        yield given
        return
    from otaku.demo.homes import open_demo_home

    with open_demo_home(given.home) as home:
        outside = (
            "database_url",
            "s3_endpoint_url",
            "mlflow_tracking_uri",
            "mlflow_tracking_username",
            "mlflow_tracking_password",
            "aws_access_key_id",
            "aws_secret_access_key",
            "airflow_url",
        )
        yield given.model_copy(update={"home": home, **dict.fromkeys(outside)})


def _run(
    given: "Settings",
    data: Path | None,
    weeks: int,
    *,
    keep: bool,
    by_airflow: bool,
    algorithms: bool,
    output: "ConsoleOutput",
    report: "DemoReport",
) -> None:
    from otaku.console import show_progress
    from otaku.demo import steps
    from otaku.platform import airflow
    from otaku.platform.environment import export_settings
    from otaku.platform.local import PARTS, LocalPlatform

    # Without schedules: Airflow runs the backfilled weeks and nothing else.
    parts = (*PARTS, airflow.make_part(clock=False)) if by_airflow else PARTS
    output.section("Platform")
    with report.timed("platform up"), _running(LocalPlatform(given, parts=parts), keep=keep) as platform:
        settings = platform.settings()
        export_settings(settings)
        for health in platform.report():
            output.print(f"[green]✓[/] {health.name} at {health.url or health.variable}")
        output.section("Data")
        with show_progress(output.console) as on_progress, _open_data(data, output, report) as directory:
            steps.ingest(settings, directory, report, output, on_progress)
        with _open_runner(platform, output, by_airflow=by_airflow) as run_week:
            for week in range(1, weeks + 1):
                output.section(f"Week {week}")
                with show_progress(output.console) as on_progress:
                    run_week(settings, week, report, output, on_progress)
        _serve(given, keep=keep, algorithms=algorithms, output=output, report=report)
        output.section("Consistency")
        steps.check_consistency(settings, report, output)
    if keep and by_airflow:
        output.print("The schedules of Airflow are off; [bold]otaku down[/] and [bold]otaku up[/] turn them on.")


@contextmanager
def _open_runner(
    platform: "LocalPlatform", output: "ConsoleOutput", *, by_airflow: bool
) -> Iterator[Callable[..., None]]:
    """Yield the function that runs a week: in this process, or in Airflow."""
    if not by_airflow:
        from otaku.demo import steps

        yield steps.run_week
        return
    from otaku.demo import airflow_steps
    from otaku.platform import airflow

    password = airflow.read_password(platform.home)
    with airflow_steps.open_scheduler(platform) as client:
        output.print(f"Airflow is at {client.url} (user {airflow.USER}, password [bold]{password}[/]).")
        yield lambda settings, *rest: airflow_steps.run_week(settings, client, *rest)


@contextmanager
def _running(platform: "LocalPlatform", *, keep: bool) -> Iterator["LocalPlatform"]:
    if keep:
        platform.bring_up(detached=True)
        yield platform
    else:
        with platform:
            yield platform


@contextmanager
def _open_data(data: Path | None, output: "ConsoleOutput", report: "DemoReport") -> Iterator[Path]:
    from recsys.data.sample_world import write_sample_world

    if data is not None:
        yield data
        return
    with tempfile.TemporaryDirectory(prefix="otaku-world-") as folder:
        world = Path(folder) / "world"
        with report.timed("sample world"):
            write_sample_world(world, n_users=N_USERS, n_items=N_ITEMS, n_ratings=N_RATINGS, seed=SEED)
        output.print(f"Synthetic data: {N_USERS} users, {N_ITEMS} anime, {N_RATINGS} ratings, seed {SEED}.")
        yield world


def _serve(given: "Settings", *, keep: bool, algorithms: bool, output: "ConsoleOutput", report: "DemoReport") -> None:
    from otaku.demo import example_requests
    from otaku.platform import app_service
    from otaku.platform.local import PARTS, LocalPlatform

    output.section("Service")
    if not any(week["action"] == "promote" for week in report.weeks):
        output.print("No challenger was promoted, so there is no model to serve; try more users or weeks.")
        return
    with _running(LocalPlatform(given, parts=(*PARTS, app_service.PART)), keep=keep) as platform:
        settings = platform.settings()
        with report.timed("service ready"):
            model = example_requests.wait_until_ready(settings)
        output.print(
            f"[green]✓[/] http://127.0.0.1:{settings.port}/docs serves {model['name']} version {model['version']}"
        )
        examples = example_requests.build_example_requests(settings)
        for request in examples:
            exchange = example_requests.send(settings, request)
            report.answers.append(exchange)
            output.recommended(request.title, exchange)
        if algorithms:
            wanted = example_requests.build_algorithm_requests(examples, report.answers)
            sent = [example_requests.send_if_held(settings, request) for request in wanted]
            report.algorithms.extend(exchange for exchange in sent if exchange is not None)
            output.compared(report.algorithms)
        if keep:
            output.print(
                f"\nThe pages are at [bold]http://127.0.0.1:{settings.port}/[/], operations at /ops; "
                "[bold]otaku open[/] opens them."
            )
            output.print("The services keep running: [bold]otaku status[/] lists them, [bold]otaku down[/] stops them.")
