"""The command line: `otaku --help`. Commands are imported here, what they need only when they run."""

import os
import shutil
import sys
from contextlib import suppress

import typer

from otaku.commands import (
    approvals,
    backup,
    demo,
    doctor,
    drift,
    evaluate,
    history,
    import_list,
    ingest,
    keys,
    migrate,
    platform,
    retrain,
    sample,
    score,
    serve,
    simulate,
    snapshots,
)
from recsys.exceptions import MachineError, RecsysError, ServiceUnavailableError
from recsys.failures import find_machine_error

# Below this PostgreSQL cannot write its log any more, and ends.
_FULL_BYTES = 16 << 20

app = typer.Typer(
    name="otaku",
    help="My Otaku Friend: an anime recommender platform that retrains itself.",
    epilog="Settings come from the environment and .env (see .env.example). "
    "Exit codes: 0 done, 1 failed with one sentence on stderr, 2 wrong usage, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

_PLATFORM, _DATA, _SERVICE = "The platform", "Data and users", "Recommendations"
app.command(rich_help_panel=_PLATFORM)(demo.demo)
app.command(rich_help_panel=_PLATFORM)(platform.up)
app.command(rich_help_panel=_PLATFORM)(platform.down)
app.command(rich_help_panel=_PLATFORM)(platform.status)
app.command("open", rich_help_panel=_PLATFORM)(platform.open_pages)
app.command(
    "airflow",
    rich_help_panel=_PLATFORM,
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(platform.airflow_command)
app.command("rotate-password", rich_help_panel=_PLATFORM)(platform.rotate_password)
app.command(rich_help_panel=_PLATFORM)(doctor.doctor)
app.command(rich_help_panel=_DATA)(sample.sample)
app.command(rich_help_panel=_DATA)(ingest.ingest)
app.command(rich_help_panel=_DATA)(simulate.simulate)
app.command("import-list", rich_help_panel=_DATA)(import_list.import_list)
app.command(rich_help_panel=_DATA)(history.arrivals)
app.command(rich_help_panel=_DATA)(history.quarantine)
app.add_typer(snapshots.app, name="snapshots", rich_help_panel=_DATA)
app.command(rich_help_panel=_SERVICE)(retrain.retrain)
app.command(rich_help_panel=_SERVICE, cls=evaluate.EvaluateCommand)(evaluate.evaluate)
app.command(rich_help_panel=_SERVICE)(score.score)
app.add_typer(drift.app, name="drift", rich_help_panel=_SERVICE)
app.command(rich_help_panel=_SERVICE)(history.ledger)
app.add_typer(approvals.app, name="models", rich_help_panel=_SERVICE)
app.command(rich_help_panel=_SERVICE)(serve.serve)
app.add_typer(keys.app, name="keys", rich_help_panel=_SERVICE)
app.add_typer(migrate.app, name="migrate", rich_help_panel=_PLATFORM)
app.command(rich_help_panel=_PLATFORM)(backup.backup)
app.command(rich_help_panel=_PLATFORM)(backup.restore)


def _find_cause(error: Exception) -> MachineError | None:
    """Find the cause in the error, or in a disk so full that the services of the home have ended with it."""
    found = find_machine_error(error)
    if found is None and (isinstance(error, ServiceUnavailableError) or not isinstance(error, RecsysError)):
        # Imported after an error alone: `otaku --help` reads no settings.
        from recsys.settings import load_settings

        with suppress(RecsysError, OSError):
            home = load_settings().home.expanduser().absolute()
            if (free := shutil.disk_usage(home).free) < _FULL_BYTES:
                found = MachineError(
                    f"the disk is full: {free >> 10} KiB are free at {home}; free some space and run it again"
                )
    return found


def main() -> None:
    """Run the command line; an error of ours is one sentence on stderr and exit code 1."""
    try:
        app()
    except RecsysError as error:
        if os.environ.get("OTAKU_LOG_LEVEL") == "DEBUG":
            raise
        sys.stderr.write(f"otaku: {_find_cause(error) or error}\n")
        sys.exit(1)
    except BrokenPipeError:  # whoever read our output, as `head` does, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        cause = _find_cause(error)
        if cause is None or os.environ.get("OTAKU_LOG_LEVEL") == "DEBUG":
            raise
        sys.stderr.write(f"otaku: {cause}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
