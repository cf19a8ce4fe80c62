"""The source of the modules that a version needs to recommend, shipped with it: no more of the package than that."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Final
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import recsys

_PACKAGE: Final = "recsys"
# Threads of Python 3.11 that parse at once disturb one another ("AST constructor recursion depth mismatch").
_LISTING: Final = Lock()
_ROOT: Final = Path(recsys.__file__).parents[1]


def write_code(archive: Path, module: str) -> None:
    """Write a module and all of the package that it imports, at once or later, to an archive that Python can import.

    One file rather than a hundred: each would be a request to S3. The same sources give the same bytes.

    Parameters
    ----------
    archive
        A `.zip` file that does not exist yet.
    module
        Its name with dots, such as `recsys.storage.pyfunc_loader`.
    """
    with _LISTING:
        sources = list_sources(module)
    archive.parent.mkdir(parents=True, exist_ok=True)
    with ZipFile(archive, "x", ZIP_DEFLATED) as stored:
        for path in sources:
            stored.writestr(ZipInfo(path.relative_to(_ROOT).as_posix()), path.read_bytes(), ZIP_DEFLATED)


@cache
def list_sources(module: str) -> tuple[Path, ...]:
    """List the files of a module and of what it imports from the package, packages included; once a process."""
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
    return tuple(sorted(found.values()))


def _find_source(module: str) -> Path | None:
    """Find the file of a module; None for a name inside one."""
    place = _ROOT.joinpath(*module.split("."))
    candidates = (place / "__init__.py", place.with_suffix(".py"))
    return next((path for path in candidates if path.is_file()), None)


def _list_imports(path: Path) -> Iterator[str]:
    """List what a file imports, but for types alone; of `from a import b` both `a` and `a.b`."""
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
