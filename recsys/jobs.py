"""Run a job from its command line: parse, log, print the result as JSON, map errors to exit codes."""

import functools
import json
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

from recsys.exceptions import RecsysError, compute_exit_code
from recsys.settings import load_settings

Job = Callable[..., Any]


def call_job(job: Job, arguments: Sequence[str] | None, *, prog: str) -> Any:
    """Parse arguments into the parameters of a job, run it, and return its result.

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

    @functools.wraps(job)
    def run(*given: Any, **options: Any) -> None:
        results.append(job(*given, **options))

    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(run)
    try:
        app(sys.argv[1:] if arguments is None else list(arguments), prog_name=prog)
    except SystemExit as stopped:
        if stopped.code or not results:
            raise
    return results[0]


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
        level = load_settings().log_level
        logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        return job(*given, **options)

    try:
        sys.stdout.write(f"{show(call_job(run, arguments, prog=f'python -m {prog}'))}\n")
    except RecsysError as error:
        sys.stderr.write(f"{prog}: {' '.join(str(error).split())}\n")
        return compute_exit_code(error)
    return 0
