"""Run a job from its command line: parse, log, trace, record the run, print the result as JSON, map errors to codes."""

import datetime as dt
import functools
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from recsys.connections import open_engine
from recsys.exceptions import EXIT_NOT_YET, RecsysError, compute_exit_code
from recsys.failures import find_machine_error
from recsys.logs import configure_logs, log_context
from recsys.settings import load_settings
from recsys.tracing import configure_tracing, find_trace_id, flush_traces, read_environment_parent, start_span

logger = logging.getLogger(__name__)

Job = Callable[..., Any]


def call_job(job: Job, arguments: Sequence[str] | None, *, prog: str) -> Any:
    """Parse arguments into the parameters of a job, run it, record the run, and return its result.

    Parameters
    ----------
    job
        Its parameters are annotated with `typer` options; its docstring is the help text.
    arguments
        Without the name of the program; None reads `sys.argv`.

    Raises
    ------
    SystemExit
        With code 2 and a message on stderr after wrong usage, with 0 after `--help`.
    """
    import typer

    results: list[Any] = []
    name = prog.removeprefix("python -m ")

    @functools.wraps(job)
    def run(*given: Any, **options: Any) -> None:
        with _observe(name, options):
            results.append(_call(job, *given, **options))

    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(run)
    try:
        app(sys.argv[1:] if arguments is None else list(arguments), prog_name=prog)
    except SystemExit as stopped:
        if stopped.code or not results:
            raise
    return results[0]


def _call(job: Job, *given: Any, **options: Any) -> Any:
    """Run the job; where the machine is the cause of a failure, one sentence says so.

    Raises
    ------
    MachineError
        A disk is full, memory is short, or a right is missing.
    """
    try:
        return job(*given, **options)
    except Exception as error:
        cause = find_machine_error(error)
        if cause is None or cause is error:
            raise
        raise cause from error


def run_main(job: Job, arguments: Sequence[str] | None, *, prog: str, show: Callable[[Any], str] = json.dumps) -> int:
    """Run a job as a program: result on stdout, log on stderr; return the exit code.

    Returns
    -------
    int
        0 done, 1 failed with one sentence as the last line of stderr, 99 nothing to work on yet.

    Raises
    ------
    SystemExit
        With code 2 after wrong usage.
    """

    @functools.wraps(job)
    def run(*given: Any, **options: Any) -> Any:
        settings = load_settings()
        configure_logs(settings.log_level, settings.log_format)
        return job(*given, **options)

    try:
        sys.stdout.write(f"{show(call_job(run, arguments, prog=f'python -m {prog}'))}\n")
    except RecsysError as error:
        sys.stderr.write(f"{prog}: {' '.join(str(error).split())}\n")
        return compute_exit_code(error)
    return 0


@contextmanager
def _observe(name: str, options: Mapping[str, Any]) -> Iterator[None]:
    """Trace a run, name it in the log, and record how it ended; a dry run is recorded nowhere."""
    job = ".".join(filter(None, (name, options.get("step"))))
    moment = options.get("day") or options.get("as_of")
    day = moment.date() if isinstance(moment, dt.datetime) else None
    run = str(options.get("run_key") or day or "")
    configure_tracing("otaku-jobs")
    started_at, outcome, message = dt.datetime.now(dt.UTC), "succeeded", ""
    with start_span(job, parent=read_environment_parent(), otaku_run=run), log_context(job=job, run=run):
        trace_id = find_trace_id()
        try:
            yield
        except BaseException as error:
            is_early = isinstance(error, RecsysError) and compute_exit_code(error) == EXIT_NOT_YET
            outcome, message = "skipped" if is_early else "failed", f"{type(error).__name__}: {error}"
            raise
        finally:
            if not options.get("dry_run") and not message.startswith(("BadParameter", "KeyboardInterrupt")):
                times = {"started_at": started_at, "ended_at": dt.datetime.now(dt.UTC)}
                _record(job=job, outcome=outcome, message=message, day=day, trace_id=trace_id, **times)
    flush_traces()


def _record(**run: Any) -> None:
    """Add a row to `job_runs`; a database that is away must not hide how the job ended."""
    from recsys.storage.job_runs import JobRun, record_run
    from recsys.storage.schema_state import require_schema

    try:
        with open_engine(load_settings()) as engine:
            require_schema(engine)
            record_run(engine, JobRun(**run))
    except Exception as error:  # noqa: BLE001 - what the job did matters more
        logger.warning("this run is not in job_runs: %s", error)
