"""Console, logging, progress and settings that all commands share."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from recsys.progress import OnProgress, Stage, log_progress
from recsys.settings import Settings, load_settings

console = Console(highlight=False)
error_console = Console(stderr=True, highlight=False)

PACKAGES = ("otaku", "recsys", "retrain_model", "simulate_new_users", "app")


def configure_logging(level: int = logging.WARNING) -> None:
    """Log to stderr, coloured on a terminal; progress is logged at every level.

    A command prints its own results, hence WARNING by default; INFO is for services, DEBUG for looking into an error.
    """
    handler: logging.Handler
    if is_terminal(error_console):
        handler = RichHandler(console=error_console, show_path=False, rich_tracebacks=True)
        handler.setFormatter(logging.Formatter("%(message)s", datefmt="%X"))
    else:
        handler = logging.StreamHandler(error_console.file)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for package in PACKAGES:
        logging.getLogger(package).setLevel(level)
    logging.getLogger("recsys.progress").setLevel(min(level, logging.INFO))


def is_terminal(output: Console) -> bool:
    """Return whether a console writes to a terminal; environment variables that force colours do not count."""
    return bool(output.file.isatty())


@contextmanager
def show_progress(output: Console = error_console) -> Iterator[OnProgress]:
    """Yield a receiver of progress: bars on a terminal, log lines on stderr elsewhere.

    Parameters
    ----------
    output
        Where the command prints meanwhile, so that bars and text do not overwrite each other.
    """
    if is_terminal(output):
        with _show_bars(output) as on_progress:
            yield on_progress
    else:
        if not logging.getLogger().handlers:
            configure_logging()
        with log_progress() as on_progress:
            yield on_progress


@contextmanager
def _show_bars(output: Console) -> Iterator[OnProgress]:
    """Show a bar for every stage that runs; at its end a line with its time replaces the bar."""
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%"),
        TimeElapsedColumn(),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=output, transient=True) as bars:

        def on_progress(stage: str, done: int, total: int) -> None:
            """Move the bar of a stage."""
            if stage not in tasks:
                # A stage of one unit has no share to show: its bar pulses.
                tasks[stage] = bars.add_task(stage, total=None if total == 1 else total)
            if done < total:
                bars.update(tasks[stage], completed=done)
                return
            bar = next(task for task in bars.tasks if task.id == tasks[stage])
            bars.remove_task(tasks.pop(stage))
            ended = Stage(stage, done, total, 0.0).describe_end(bar.elapsed or 0.0)
            output.print(f"  {ended}", style="dim", soft_wrap=True, markup=False)

        yield on_progress


def read_settings() -> Settings:
    """Read the settings as given and configure logging accordingly.

    Raises
    ------
    ConfigurationError
        Names each setting that is wrong.
    """
    settings = load_settings()
    configure_logging(logging.DEBUG if settings.log_level == "DEBUG" else logging.WARNING)
    return settings


def running_settings() -> Settings:
    """Read the settings, completed by the running local platform; clients that read the environment find it there too.

    Raises
    ------
    ConfigurationError
        A setting is wrong, or a service is neither named nor running.
    """
    from otaku.platform.environment import export_settings
    from otaku.platform.local import resolve_settings

    settings = resolve_settings(read_settings())
    export_settings(settings)
    return settings
