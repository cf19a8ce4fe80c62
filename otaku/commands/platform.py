"""`otaku up`, `down`, `status` and `open`: the local platform, kept running."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from otaku.platform.local import Health, LocalPlatform
    from recsys.settings import Settings


def up(
    with_airflow: Annotated[
        bool, typer.Option("--airflow/--no-airflow", help="Run the daily and weekly jobs in a local Airflow.")
    ] = True,
) -> None:
    """Start PostgreSQL, S3, MLflow and Airflow and keep them running; running ones are not restarted.

    A service named by a setting (OTAKU_DATABASE_URL, OTAKU_S3_ENDPOINT_URL, MLFLOW_TRACKING_URI, OTAKU_AIRFLOW_URL) is
    checked, not started.
    """
    from otaku.console import console, read_settings
    from otaku.platform import airflow
    from otaku.platform.local import PARTS, LocalPlatform
    from recsys.exceptions import ServiceUnavailableError

    settings = read_settings()
    platform = LocalPlatform(settings, parts=(*PARTS, airflow.PART) if with_airflow else PARTS)
    new_password = with_airflow and not airflow.password_file(platform.home).exists()
    with console.status("Starting ..."):
        started = platform.bring_up(detached=True, on_ready=lambda name: console.print(f"[green]✓[/] {name} answers"))
    if with_airflow and settings.airflow_url is None and airflow.restore_pool(platform.settings()):
        console.print("The pool of the training tasks had been deleted; it is there again.")
    report = _wait_for_health(platform)
    if problems := "; ".join(f"{row.name}: {row.problem}" for row in report if row.problem):
        raise ServiceUnavailableError(f"the platform is not up: {problems}; its logs are in {platform.home / 'logs'}")
    console.print("The platform is up." if started else "The platform was up already.")
    console.print(_describe_service(settings), soft_wrap=True, markup=False)
    if settings.mlflow_tracking_uri is None:
        user = platform.settings().mlflow_tracking_username
        console.print(f"MLflow: user {user}; otaku status --env prints MLFLOW_TRACKING_PASSWORD.", markup=False)
    if new_password and airflow.password_file(platform.home).exists():
        console.print(_describe_login(platform.home), soft_wrap=True, markup=False)
    pages = _find_pages(platform)
    console.print(
        f"The pages are at [bold]{pages}[/]; [bold]otaku open[/] opens them."
        if pages
        else f"The pages are at [bold]http://{platform.settings().host}:{platform.settings().port}/[/] "
        "once [bold]otaku serve[/] runs.",
        soft_wrap=True,
    )
    _tell_what_comes_next(platform, has_airflow=with_airflow)
    console.print(_table(platform.home, report))


def rotate_password() -> None:
    """Give the user of the local Airflow a new password; no restart is needed."""
    from otaku.console import console, read_settings
    from otaku.platform import airflow
    from otaku.platform.state import locked
    from recsys.exceptions import ConfigurationError

    home = read_settings().home.expanduser().absolute()
    if not airflow.password_file(home).exists():
        raise ConfigurationError(f"there is no Airflow in {home}; run otaku up")
    with locked(home):
        airflow.rotate_password(home)
    console.print(_describe_login(home), soft_wrap=True, markup=False)


def _describe_login(home: Path) -> str:
    """Name user and password of Airflow; where output is no terminal, a log may keep it, the file alone."""
    from otaku.console import console, is_terminal
    from otaku.platform import airflow

    place = airflow.password_file(home)
    if not is_terminal(console):
        return f"Airflow: user {airflow.USER}, the password is in {place}"
    return f"Airflow: user {airflow.USER}, password {airflow.read_password(home)} (not shown again; kept in {place})"


def airflow_command(context: typer.Context) -> None:
    """Run Airflow's own command line with the local Airflow: `otaku airflow dags list`."""
    import os
    import sys

    from otaku.console import read_settings
    from otaku.platform import airflow
    from otaku.platform.local import LocalPlatform

    given = read_settings()
    platform = LocalPlatform(given, parts=airflow.list_parts(given))
    settings = platform.settings()
    names = {
        **os.environ,
        **platform.environment(),
        **airflow.commands_environment(settings),
        "PYTHONWARNINGS": "ignore",
    }
    os.execve(sys.executable, [sys.executable, "-P", "-m", "airflow", *context.args], names)  # noqa: S606


def _wait_for_health(platform: "LocalPlatform", seconds: float = 60.0) -> "list[Health]":
    """Wait for services that are being started again; return how all are in the end."""
    import time

    deadline = time.monotonic() + seconds
    report = platform.report()
    while not all(row.healthy for row in report) and time.monotonic() < deadline:
        time.sleep(1)
        report = platform.report()
    return report


def _tell_what_comes_next(platform: "LocalPlatform", *, has_airflow: bool) -> None:
    from datetime import UTC, datetime

    from otaku.console import console
    from otaku.outlook import describe_next
    from recsys.connections import open_engine

    with open_engine(platform.settings()) as engine:
        console.print(describe_next(engine, datetime.now(UTC), has_airflow=has_airflow), soft_wrap=True, markup=False)


def _describe_service(settings: "Settings") -> str:
    """Say where `otaku serve` will listen and who may ask there, or why it will refuse to start."""
    from recsys.exceptions import ConfigurationError
    from recsys.settings import is_loopback

    try:
        settings.check_access()
    except ConfigurationError as error:
        return f"`otaku serve` will not start: {error}"
    if settings.api_keys:
        return f"`otaku serve` will listen on {settings.host}:{settings.port}; requests need an API key."
    reach = "this machine" if is_loopback(settings.host) else "every machine that reaches it"
    return f"`otaku serve` will listen on {settings.host}:{settings.port}, without API keys, for {reach}."


def open_pages(
    operations: Annotated[bool, typer.Option("--ops", help="Open the page of operations.")] = False,
) -> None:
    """Open the pages in a browser; where there is none, the address is printed alone. Fails if nothing serves."""
    import webbrowser

    from otaku.console import console, read_settings
    from otaku.platform.local import LocalPlatform
    from recsys.exceptions import ServiceUnavailableError

    settings = read_settings()
    address = _find_pages(LocalPlatform(settings))
    if address is None:
        raise ServiceUnavailableError(f"no service answers on port {settings.port}; start it with `otaku serve`")
    address += "ops" if operations else ""
    console.print(address, soft_wrap=True)
    webbrowser.open(address)


def _find_pages(platform: "LocalPlatform") -> str | None:
    """Return the address of a service that answers: the one of the platform, or one on the port of the settings."""
    from otaku.platform import app_service
    from otaku.platform.state import read_state

    started = [entry.url for entry in read_state(platform.home).services if entry.name == app_service.NAME]
    settings = platform.given
    candidates = [*started, f"http://{settings.host}:{settings.port}"]
    return next((f"{url}/" for url in candidates if url and app_service.answers(url)), None)


def down() -> None:
    """Stop the local platform; its data are kept. Does nothing if it is not running."""
    from otaku.console import console, read_settings
    from otaku.platform.local import LocalPlatform

    with console.status("Stopping ..."):
        stopped = LocalPlatform(read_settings()).take_down()
    console.print(f"Stopped {', '.join(stopped)}." if stopped else "Nothing was running.")


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    as_shell: Annotated[
        bool,
        typer.Option(
            "--env",
            help="Print export lines for a shell, passwords included: eval $(otaku status --env); or JSON.",
        ),
    ] = False,
) -> None:
    """Show the services with URL and health; exit code 1 unless all are healthy."""
    from otaku.console import console, read_settings
    from otaku.platform import airflow, app_service
    from otaku.platform.local import LocalPlatform
    from otaku.platform.state import read_state

    settings = read_settings()
    platform = LocalPlatform(settings, parts=airflow.list_parts(settings))
    if as_shell:
        names = {**platform.environment(), **_name_airflow(platform)}
        if as_json:
            typer.echo(json.dumps(names, indent=2))
        else:
            _print_exports(names)
        return
    if any(entry.name == app_service.NAME for entry in read_state(platform.home).services):
        platform = LocalPlatform(settings, parts=(*platform.parts, app_service.PART))
    report = platform.report()
    if as_json:
        services = [{**asdict(row), "healthy": row.healthy} for row in report]
        typer.echo(json.dumps({"home": str(platform.home), "services": services}, indent=2))
    else:
        console.print(_table(platform.home, report))
    if not all(row.healthy for row in report):
        raise typer.Exit(1)


def _name_airflow(platform: "LocalPlatform") -> dict[str, str]:
    """Name what Airflow's own commands need, where the platform runs one."""
    from otaku.platform import airflow

    has_own = airflow.PART in platform.parts and not airflow.PART.is_given(platform.given)
    return airflow.commands_environment(platform.settings()) if has_own else {}


def _table(home: Path, report: "list[Health]") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    table = Table("service", "url", "pid", "health", title=f"Platform in {home}", title_justify="left")
    for row in report:
        health = "[green]answers[/]" if row.problem is None else f"[red]{escape(row.problem)}[/]"
        table.add_row(row.name, row.url or "-", "outside" if row.outside else str(row.pid or "-"), health)
    return table


def _print_exports(environment: dict[str, str]) -> None:
    import shlex

    for name, value in environment.items():
        typer.echo(f"export {name}={shlex.quote(value)}")
