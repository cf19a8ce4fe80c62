"""Run `python -m retrain_model` to the end or to an instant.

`python -m tests.retrain_model.stopping STOP ARGUMENT...`: STOP is null, or JSON that names a call. About to make it the
process touches a file, and waits there to be killed.
"""

import functools
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

PACK = 30


def stop_before(target: str, *, nth: int, containing: str, sign: str) -> None:
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
                Path(sign).touch()
                time.sleep(60)
                os._exit(70)
        return called(*arguments, **named)

    setattr(owner, name, stop)


def main(stop: dict[str, Any] | None, arguments: list[str]) -> int:
    """Be the job."""
    from retrain_model import text_cache
    from retrain_model.__main__ import main as run

    text_cache.PACK = PACK  # type: ignore[misc]
    if stop is not None:
        stop_before(**stop)
    return run(arguments)


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1]), sys.argv[2:]))
