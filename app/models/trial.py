"""The trial of a version: loaded in a process of its own first, so that whatever crashes there crashes there.

The process has limits of time and memory, no credentials in its environment, and writes no file; while another version
serves it has the lowest priority.
`python -m app.models.trial FOLDER` is that process: it ends with 0 if the version can serve, and with 3 after a line
that says why not.
"""

import json
import os
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from recsys.exceptions import ArtifactError, RecsysError

if TYPE_CHECKING:
    from app.models.serving import ServingModel

REFUSED: Final = 3
_KEPT: Final = ("PATH", "LANG", "LC_ALL", "HOME", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
# How the libraries compute: another kernel of the same library rounds otherwise, and another answer is a refusal.
_KEPT_PREFIXES: Final = ("OPENBLAS_", "OMP_", "MKL_", "NUMBA_", "NPY_", "MALLOC_")
_NICE: Final = 10
# A process of the lowest priority waits for its neighbours: what is elapsed says little about the version.
_PATIENCE: Final = 5
_MAX_REASON: Final = 1_000
_REMEDY: Final = "(OTAKU_TRIAL_SECONDS)"


@dataclass(frozen=True)
class Trial:
    """Limits of a trial.

    Parameters
    ----------
    seconds
        Of processor time; elapsed may be five times as many.
    megabytes
        Of private memory (`RLIMIT_DATA`).
    """

    seconds: float
    megabytes: int

    def run(self, folder: Path, *, yields: bool = False) -> None:
        """Load a version in a child process.

        Parameters
        ----------
        yields
            Whether the process leaves the processors to all others, those that answer requests above all.

        Raises
        ------
        ArtifactError
            If it is refused there, ends the process, or exceeds a limit.
        """
        limits = [str(max(1, round(self.seconds))), str(self.megabytes), str(_NICE if yields else 0)]
        command = [sys.executable, "-m", "app.models.trial", str(folder.absolute()), *limits]
        environment = {
            name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)
        }
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        paths = {"PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}
        try:
            done = subprocess.run(  # noqa: S603 - our own program
                command,
                env={**environment, **threads, **paths},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=_PATIENCE * self.seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ArtifactError(f"a trial of it has not ended after {_PATIENCE * self.seconds:g} s {_REMEDY}") from None
        except OSError as error:
            raise ArtifactError(f"it cannot be tried: no process can be started: {error}") from error
        if done.returncode:
            raise ArtifactError(f"a trial of it {self._explain(done.returncode, done.stdout)}")

    def _explain(self, code: int, output: bytes) -> str:
        if code == REFUSED:
            with suppress(ValueError, KeyError, IndexError, TypeError):
                return f"ended with: {json.loads(output.splitlines()[-1])['reason'][:_MAX_REASON]}"
        if code == -signal.SIGXCPU:
            return f"takes more than {self.seconds:g} s of processor time {_REMEDY}"
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
            return (
                f"ended by signal {name}; within {self.megabytes} MB (OTAKU_TRIAL_MEGABYTES) the files crash a process"
            )
        return f"ended with code {code}"


def limit_process(seconds: int, megabytes: int, niceness: int) -> None:
    """Limit this process: the kernel ends it rather than any other when memory is short."""
    os.nice(niceness)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    for kind, soft, hard in (
        (resource.RLIMIT_DATA, megabytes << 20, megabytes << 20),
        (resource.RLIMIT_CPU, seconds, seconds + 1),  # SIGXCPU, which says why, a second before SIGKILL
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_FSIZE, 0, 0),
    ):
        given = resource.getrlimit(kind)[1]
        most = hard if given == resource.RLIM_INFINITY else min(hard, given)
        resource.setrlimit(kind, (min(soft, most), most))


def ask_everything(model: "ServingModel") -> None:
    """Ask every algorithm of a version for one list.

    Raises
    ------
    ArtifactError
        If an algorithm does not score each title of the catalog once.
    """
    from recsys.recommender import UserProfile

    catalog = model.recommender.catalog
    popular = catalog.item_ids[model.by_popularity[:3]]
    history = UserProfile(popular, (popular * 0 + 9).astype("float32")).to_history(catalog)
    for name, generator in model.recommender.retriever.generators.items():
        found = generator.score(history).shape
        if found != (1, len(catalog)):
            raise ArtifactError(f"{name} scores {found} titles of {len(catalog)}")


def main(arguments: list[str]) -> int:
    """Load the folder of the first argument within the seconds, the megabytes and at the niceness of the others."""
    folder, *limits = arguments
    limit_process(*map(int, limits))
    try:
        # Only now, so that the limits hold for everything that a version is read with.
        from app.native_pools import load_lightgbm

        load_lightgbm()
        from app.models.serving import load_model

        ask_everything(load_model(Path(folder), name="trial", version=0, run_id=""))
    except Exception as error:  # noqa: BLE001 - whatever a hostile file makes a library raise
        kind = "" if isinstance(error, RecsysError) else f"{type(error).__name__}: "
        sys.stdout.write("\n" + json.dumps({"reason": f"{kind}{error}"[:_MAX_REASON]}) + "\n")
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.stdout.flush()
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # nothing of the version is needed any more, its destructors included
