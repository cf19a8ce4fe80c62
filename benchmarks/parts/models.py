"""The model that a benchmark of the service asks: a stored version, or a small one on an invented world."""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from parts.worlds import train_default_model


def parse_options(description: str | None, *, seconds: float, seconds_help: str) -> argparse.Namespace:
    """Read MODEL, `--seconds` and `--output`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", metavar="MODEL", help="folder of a stored version")
    parser.add_argument("--seconds", type=float, default=seconds, help=seconds_help)
    parser.add_argument("--output", type=Path, help="write all results as JSON")
    return parser.parse_args()


@contextmanager
def provide_model(folder: Path | None) -> Iterator[Path]:
    """Give the folder of a version; without one, train the default preset on an invented world first."""
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="otaku-bench-") as scratch:
        world = train_default_model(
            Path(scratch) / "world", n_items=14_353, n_users=1_500, n_ratings=150_000, n_trees=190, n_learners=1_100
        )
        world.recommender.save(Path(scratch) / "model")
        yield Path(scratch) / "model"
