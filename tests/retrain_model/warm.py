"""Run `python -m retrain_model` in forks of one process that has everything imported, to the end or to an instant.

One order a line on stdin, in JSON. `environment`, `arguments`, `log` and perhaps `stop` start a fork, whose id is
answered; `wait` with such an id answers its return code. A fork with a `stop` writes `LOG.stopped` when it is about to
make the call that `stop` names, and waits there to be killed.
"""

import functools
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from tests.warm_imports import import_heavy_modules

PACK = 30


def stop_before(target: str, *, nth: int, containing: str, sign: Path) -> None:
    """Make the nth call of `module:name` whose arguments contain a text the last thing that happens."""
    module_name, _, path = target.partition(":")
    *parents, name = path.split(".")
    owner: Any = functools.reduce(getattr, parents, importlib.import_module(module_name))
    called, count = getattr(owner, name), [0]

    @functools.wraps(called)
    def stop(*arguments: Any, **named: Any) -> Any:
        if any(containing in str(value) for value in (*arguments, *named.values(), "")):
            count[0] += 1
            if count[0] == nth:
                sign.touch()
                time.sleep(60)
                os._exit(70)
        return called(*arguments, **named)

    setattr(owner, name, stop)


def run(order: dict[str, Any]) -> int:
    """Be the job."""
    from retrain_model.__main__ import main

    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(order["environment"])
    if order.get("stop"):
        stop_before(**order["stop"], sign=Path(order["log"] + ".stopped"))
    try:
        return main(order["arguments"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def serve() -> None:
    """Answer orders until stdin ends."""
    import_heavy_modules()
    from retrain_model import text_cache

    text_cache.PACK = PACK  # type: ignore[misc]
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            answer = os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                code = 70
                try:
                    code = run(order)
                finally:
                    os._exit(code)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
