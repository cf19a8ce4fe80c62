"""Variants of the data, each with a folder of its own that `measure.py` evaluates."""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from measure import load_world

from recsys.evaluation.comparison import Result
from recsys.gate.intervals import Interval

HERE: Final = Path(__file__).parent


def build_parser(description: str | None) -> argparse.ArgumentParser:
    """Build a parser of what every script over variants takes."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("directory", type=Path, help="data in one of the layouts that `otaku ingest` reads")
    parser.add_argument("work", type=Path, help="folder that keeps what is measured")
    parser.add_argument("--models", default="ease,ranker", help="the first one is what the others are paired with")
    parser.add_argument("--params", type=Path, help="tuned hyper-parameters, as tune.py writes them")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def prepare_variant(arguments: argparse.Namespace, name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Path:
    """Write the changed ratings where `measure.py` looks for them, beside the text vectors that all variants share."""
    folder: Path = arguments.work / name
    world = folder / "world"
    if not (world / "done.json").exists():
        usual = load_world(arguments.directory, arguments.work)
        world.mkdir(parents=True, exist_ok=True)
        usual.catalog.items.to_parquet(world / "items.parquet", index=False)
        change(usual.interactions.table).to_parquet(world / "ratings.parquet", index=False)
        (world / "done.json").write_text(json.dumps({"digest": f"{usual.name} {name}"}))
    vectors = arguments.work / "text-vectors"
    vectors.mkdir(exist_ok=True)
    if not (folder / "text-vectors").exists():
        (folder / "text-vectors").symlink_to(vectors.resolve())
    return folder


def measure_variant(arguments: argparse.Namespace, folder: Path) -> list[Result]:
    """Evaluate the models on the test users of a variant, the first one as the reference."""
    names = arguments.models.split(",")
    print(f"{folder.name} ...", flush=True)
    command = [sys.executable, str(HERE / "measure.py"), str(arguments.directory), str(folder)]
    command += ["--models", arguments.models, "--reference", names[0], "--seed", str(arguments.seed)]
    command += ["--threads", str(arguments.threads)]
    command += [] if arguments.params is None else ["--params", str(arguments.params)]
    if code := subprocess.run(command, check=False).returncode:  # noqa: S603 - our own script
        sys.exit(f"{folder.name} stopped with {code}; run again to go on")
    nothing = Interval(np.nan, np.nan, np.nan, level=0.95, n=0)
    return [Result(name, pd.read_parquet(folder / "test" / f"{name}.parquet"), nothing) for name in names]
