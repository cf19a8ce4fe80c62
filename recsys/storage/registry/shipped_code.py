"""The source of the modules that a version needs to recommend, shipped with it: no more of the package than that."""

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Final

import recsys

_PACKAGE: Final = "recsys"
# Threads of Python 3.11 that parse at once disturb one another ("AST constructor recursion depth mismatch").
_PARSING: Final = Lock()
_ROOT: Final = Path(recsys.__file__).parents[1]


def write_code(target: Path, module: str) -> None:
    """Copy a module and all of the package that it imports, at once or later, below a folder that Python can import.

    Parameters
    ----------
    target
        A folder that does not exist yet.
    module
        Its name with dots, such as `recsys.storage.pyfunc_loader`.
    """
    for path in list_sources(module):
        place = target / path.relative_to(_ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)


def list_sources(module: str) -> list[Path]:
    """List the files of a module and of what it imports from the package, packages included."""
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _find_source(name)
        if path is None or name in found:
            continue
        found[name] = path
        parts = name.split(".")
        waiting += [".".join(parts[:length]) for length in range(1, len(parts))]
        waiting += [named for named in _list_imports(path) if named.split(".")[0] == _PACKAGE]
    return sorted(found.values())


def _find_source(module: str) -> Path | None:
    """Find the file of a module; None for a name inside one."""
    place = _ROOT.joinpath(*module.split("."))
    candidates = (place / "__init__.py", place.with_suffix(".py"))
    return next((path for path in candidates if path.is_file()), None)


def _list_imports(path: Path) -> Iterator[str]:
    """List what a file imports, but for types alone; of `from a import b` both `a` and `a.b`."""
    with _PARSING:
        waiting: list[ast.AST] = [ast.parse(path.read_bytes())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        waiting += ast.iter_child_nodes(node)
