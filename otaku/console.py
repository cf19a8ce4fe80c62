"""What every command shares: the console, the settings, and how a failure is told."""

import logging

from rich.console import Console
from rich.logging import RichHandler

from recsys.settings import Settings, load_settings

console = Console(highlight=False)
error_console = Console(stderr=True, highlight=False)


def read_settings() -> Settings:
    """Read the settings as given and set the logging up accordingly.

    Raises
    ------
    ConfigurationError
        Names each setting that is wrong.
    """
    settings = load_settings()
    # A command tells its story itself; INFO is for services, DEBUG for whoever looks for an error.
    level = logging.DEBUG if settings.log_level == "DEBUG" else logging.WARNING
    handler = RichHandler(level, console=error_console, show_path=False, rich_tracebacks=True)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", datefmt="%X", handlers=[handler])
    for package in ("otaku", "recsys", "retrain_model", "simulate_new_users", "app"):
        logging.getLogger(package).setLevel(level)
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
