"""Where the time and the memory of a fit and of a request go: `make profile ARGS="--model user-user --data DIR"`.

pyinstrument samples the stack of calls, memray records every allocation, also those of native code. Each profile is a
run of its own, since recording allocations takes time. Reports are written to a folder: `*.html` for the browser, and
`*.bin` for `memray flamegraph`.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import memray
import numpy as np
from pyinstrument import Profiler

from recsys.data.catalog import Catalog
from recsys.data.interactions import Interactions
from recsys.data.sample_world import write_sample_world
from recsys.data.sources.reading import read_source
from recsys.retrieval.base import CandidateGenerator
from recsys.retrieval.registry import list_names, make_model
from recsys.retrieval.spec import ModelInputs
from recsys.types import RatingMatrix

N_REQUESTS = 200
MIB = 1 << 20


def read_world(folder: Path | None) -> tuple[RatingMatrix, Catalog]:
    """Read ratings and catalog of a folder, or of a sample world."""
    with tempfile.TemporaryDirectory() as scratch:
        if folder is None:
            folder = Path(scratch) / "world"
            write_sample_world(folder, n_users=2_000, n_items=4_000, n_ratings=200_000, seed=7)
        source = read_source(folder)
    catalog = Catalog(source.items)
    return Interactions(source.ratings).to_matrix(catalog), catalog


def profile(name: str, work: Callable[[], object], output: Path) -> None:
    """Run some work twice: once with its time taken, once with its allocations recorded."""
    profiler = Profiler()
    with profiler:
        work()
    (output / f"{name}.html").write_text(profiler.output_html())
    print(f"== {name}: time\n{profiler.output_text(unicode=True, show_all=False)}")
    recording = output / f"{name}.bin"
    recording.unlink(missing_ok=True)
    with memray.Tracker(recording, native_traces=False):
        work()
    with memray.FileReader(recording) as reader:
        print(f"== {name}: memory\npeak of what it allocated {reader.metadata.peak_memory / MIB:.1f} MiB")
        records = sorted(reader.get_high_watermark_allocation_records(), key=lambda record: -record.size)
        for record in records[:8]:
            place = next(iter(record.stack_trace(max_stacks=1)), ("native code", "", 0))
            print(f"{record.size / MIB:9.1f} MiB  {place[0]} ({Path(place[1]).name}:{place[2]})")


def main() -> None:
    """Profile the fit of one model, and requests to it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="user-user", choices=list_names())
    parser.add_argument("--data", type=Path, help="folder with ratings, as for otaku ingest; a sample world by default")
    parser.add_argument("--output", type=Path, default=Path("profiles"))
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    ratings, catalog = read_world(given.data)
    texts = np.random.default_rng(0).normal(size=(len(catalog), 384)).astype(np.float32)
    inputs = ModelInputs(lambda: texts)
    model: CandidateGenerator = make_model(given.model, inputs).fit(ratings, catalog)
    rows = [ratings[row] for row in range(min(N_REQUESTS, ratings.shape[0]))]
    model.score(rows[0])  # what is prepared on the first request only
    profile(f"{given.model}-fit", lambda: make_model(given.model, inputs).fit(ratings, catalog), given.output)
    profile(f"{given.model}-requests", lambda: [model.score(row) for row in rows], given.output)
    print(f"Reports of {given.model} are in {given.output}: {len(rows)} requests, {ratings.shape[0]} users.")


if __name__ == "__main__":
    main()
