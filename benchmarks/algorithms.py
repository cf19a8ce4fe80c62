"""What the models that answer alone cost a version and the service: `make bench-algorithms ARGS="MODEL --data DIR"`.

MODEL is the folder of a stored version, whose titles and synopses are used, and DIR holds the ratings; without them a
small version is trained on an invented world. All standalone models are fitted together as in a retraining and stored
with the version, each step in a process of its own. Then lists are timed in process and over HTTP, and the memory of
the service is compared with that of the same version without these models.

Exits with 1 if a budget is exceeded. Fits and lists in process are measured in processor time, which a busy machine
stretches less than the clock.
"""

import argparse
import json
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from parts.clients import build_request, run_clients
from parts.measuring import measure_in_turn, read_memory, read_peak, read_processor_seconds, release_memory, reset_peak
from parts.models import provide_model
from parts.reporting import build_table
from parts.service import DEAD, run_service
from rich.console import Console
from threadpoolctl import threadpool_limits

from recsys.cpus import count_cpus
from recsys.data.catalog import Catalog
from recsys.data.interactions import Interactions
from recsys.data.sources.reading import read_source
from recsys.data.splits import TEST, TRAIN, select_group
from recsys.recommender import Recommender
from recsys.recommender.retriever import RANKER
from recsys.retrieval.base import CandidateGenerator, select_top
from recsys.retrieval.spec import ModelInputs
from recsys.retrieval.standalone import FOLDER, fit_standalone, load_standalone, save_standalone, select_standalone
from recsys.types import RatingMatrix

# What all standalone models together may take, and each for a list.
BUDGETS: Final = {
    "fit, min": 6.0,
    "peak of the fits, MiB": 1024.0,
    "in the version, MB": 120.0,
    "in the service, MiB": 250.0,
}
LIST_MS: Final = 5.0
LIST_MS_OF: Final = {"two-tower": 2.0}
PUBLISHED_MS: Final = 5.0  # over HTTP, by the author of Sagasu on a machine of his own
N_HISTORIES: Final = 200


@dataclass(frozen=True)
class Place:
    """A version without standalone models, the ratings, and where the version with them is made."""

    version: Path
    data: Path
    whole: Path

    def read_ratings(self, catalog: Catalog, group: str) -> RatingMatrix:
        """Read the ratings of one group of users for the titles of the version."""
        ratings = read_source(self.data).ratings
        known = ratings[catalog.contains(ratings["item_id"].to_numpy())]
        return select_group(Interactions(known.reset_index(drop=True)), group).to_matrix(catalog)


def fit(place: Place, n_threads: int) -> dict[str, float]:
    """Fit all standalone models together and store them; the data are in memory before anything is measured."""
    known = Recommender.load(place.version)
    catalog, text_vectors = known.catalog, known.retriever.items.text_vectors
    del known
    ratings = place.read_ratings(catalog, TRAIN)
    release_memory()
    reset_peak()
    before, start, cpu = read_memory(), time.perf_counter(), time.process_time()
    with threadpool_limits(1):
        fitted = fit_standalone(
            ratings, catalog, select_standalone(), ModelInputs(lambda: text_vectors), n_threads=n_threads
        )
    found = {
        "n_users": float(ratings.shape[0]),
        "n_items": float(ratings.shape[1]),
        "n_ratings": float(ratings.nnz),
        "fit_seconds": time.perf_counter() - start,
        "fit_cpu_seconds": time.process_time() - cpu,
        "fit_peak_mib": read_peak() - before,
    }
    shutil.copytree(place.version, place.whole, dirs_exist_ok=True)
    save_standalone(fitted, place.whole)
    sizes = {path.name: path.stat().st_size for path in (place.whole / FOLDER).iterdir()}
    return found | {"stored_mb": sum(sizes.values()) / 1e6}


def list_ten(model: CandidateGenerator, history: RatingMatrix) -> Callable[[], object]:
    """Make a list of ten of one model, as the service does."""

    def call() -> object:
        """Score the catalog and pick ten titles."""
        allowed = np.ones(history.shape, dtype=bool)
        allowed[0, history.indices] = False
        return select_top(model.score(history), allowed, 10)

    return call


def time_lists(place: Place, seconds: float) -> dict[str, dict[str, Any]]:
    """Time lists of test users in this process, model by model in turn."""
    catalog = Recommender.load(place.version).catalog
    held_out = place.read_ratings(catalog, TEST)
    histories = [held_out[row] for row in range(min(N_HISTORIES, held_out.shape[0]))]
    models = load_standalone(place.whole)
    algorithms = {spec.key: str(spec.algorithm) for spec in select_standalone()}
    ways = {
        algorithms[key]: [list_ten(model, history) for history in histories] for key, model in sorted(models.items())
    }
    with threadpool_limits(1):
        found = measure_in_turn(ways, seconds=seconds, clock=time.thread_time)
    return {name: latency.to_dict() for name, latency in found.items()}


def build_bodies(place: Place) -> list[dict[str, Any]]:
    """Build requests of users who bring their ratings along."""
    catalog = Recommender.load(place.version).catalog
    held_out = place.read_ratings(catalog, TEST)
    bodies = []
    for row in range(min(N_HISTORIES, held_out.shape[0])):
        history = held_out[row]
        given = zip(catalog.item_ids[history.indices].tolist(), history.data.tolist(), strict=True)
        bodies.append({"ratings": {str(item): int(rating) for item, rating in given}, "k": 10})
    return bodies


def ask(folder: Path, bodies: Sequence[dict[str, Any]], algorithms: Sequence[str], seconds: float) -> dict[str, Any]:
    """Serve a version and ask one client's requests of each algorithm in turn; latency, failures and memory."""
    found: dict[str, Any] = {"http": {}}
    with (
        tempfile.TemporaryDirectory(prefix="otaku-bench-") as home,
        run_service(folder, DEAD, Path(home), is_pinned=True) as service,
    ):
        for algorithm in algorithms:
            requests = [build_request("/recommend/", body | {"algorithm": algorithm}) for body in bodies]
            run_clients(service.port, requests, n_clients=1, seconds=1)
            spent = read_processor_seconds(service.pid)
            load = run_clients(service.port, requests, n_clients=1, seconds=seconds)
            each = 1000 * (read_processor_seconds(service.pid) - spent) / load.latency.n
            found["http"][algorithm] = {**load.latency.to_dict(), "processor": each, "failed": load.n_failed}
        found["service_mib"] = read_memory(service.pid)
    return found


def run(place: Place, seconds: float) -> dict[str, Any]:
    """Measure everything; fits and lists in fresh processes, so that no memory of one is counted for another."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, maxtasksperchild=1) as pool:
        sys.stderr.write("fits\n")
        fitted = pool.apply(fit, (place, min(2, count_cpus())))
        sys.stderr.write(f"{json.dumps(fitted)}\n")
        sys.stderr.write("lists in process\n")
        lists = pool.apply(time_lists, (place, seconds))
        sys.stderr.write(f"{json.dumps(lists)}\n")
        bodies = pool.apply(build_bodies, (place,))
    algorithms = [str(spec.algorithm) for spec in select_standalone()]
    sys.stderr.write("lists over HTTP\n")
    alone = ask(place.version, bodies, [RANKER], seconds)
    whole = ask(place.whole, bodies, [RANKER, *algorithms], seconds)
    return {
        "fit": fitted,
        "lists": lists,
        "http": whole["http"],
        "service_mib": whole["service_mib"] - alone["service_mib"],
    }


def check_budgets(found: dict[str, Any]) -> list[tuple[str, float, float]]:
    """Compare what was found with what is allowed: what, the limit, the value."""
    totals = (found["fit"]["fit_seconds"] / 60, found["fit"]["fit_peak_mib"], found["fit"]["stored_mb"])
    values = (*totals, found["service_mib"])
    checked = [(name, limit, value) for (name, limit), value in zip(BUDGETS.items(), values, strict=True)]
    return checked + [
        (f"{name}, list in process, p50 ms", LIST_MS_OF.get(name, LIST_MS), latency["p50"])
        for name, latency in found["lists"].items()
    ]


def main() -> int:
    """Run, print and check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", metavar="MODEL", help="folder of a stored version")
    parser.add_argument("--data", type=Path, help="folder with ratings; needed with MODEL")
    parser.add_argument("--seconds", type=float, default=10.0, help="of asking, in process and per algorithm over HTTP")
    parser.add_argument("--output", type=Path, help="write all results as JSON")
    options = parser.parse_args()
    if (options.model is None) != (options.data is None):
        parser.error("MODEL and --data belong together")
    with provide_model(options.model) as folder, tempfile.TemporaryDirectory(prefix="otaku-bench-") as scratch:
        version = Path(shutil.copytree(folder, Path(scratch) / "version"))
        with suppress(FileNotFoundError):
            shutil.rmtree(version / FOLDER)
        place = Place(version, options.data or folder.parent / "world", Path(scratch) / "whole")
        found = run(place, options.seconds)
    if options.output:
        options.output.write_text(json.dumps(found, indent=1) + "\n")
    console, fitted = Console(width=120), found["fit"]
    console.print(
        f"{fitted['n_users']:,.0f} users, {fitted['n_items']:,.0f} titles, {fitted['n_ratings']:,.0f} ratings; "
        f"fits {fitted['fit_seconds']:.0f} s, {fitted['fit_cpu_seconds']:.0f} s of the processor"
    )
    budgets = build_table("All standalone models", ["what", "limit", "found", "kept"])
    checked = check_budgets(found)
    for what, limit, value in checked:
        budgets.add_row(what, f"{limit:g}", f"{value:.2f}", "yes" if value <= limit else "no")
    console.print(budgets)
    table = build_table(
        f"POST /recommend/, one client, ms (Sagasu has published about {PUBLISHED_MS:g})",
        ["algorithm", "p50", "p95", "p99", "processor, mean", "failed"],
    )
    for name, latency in found["http"].items():
        table.add_row(
            name, *(f"{latency[key]:.1f}" for key in ("p50", "p95", "p99", "processor")), str(latency["failed"])
        )
    console.print(table)
    failed = any(latency["failed"] for latency in found["http"].values())
    return 0 if not failed and all(value <= limit for _, limit, value in checked) else 1


if __name__ == "__main__":
    sys.exit(main())
