"""Files that unfold: refused or cut before memory is taken for them, and never a reason to lose good rows."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from otaku.platform.local import LocalPlatform
from recsys.data.sample_world import write_sample_world
from recsys.data.sources import rows
from recsys.data.sources.bounds import MAX_CELL_BYTES, MAX_LINE_BYTES
from recsys.exceptions import SourceLayoutError
from tests.conftest import build_settings

MEGABYTES = 400
READ = """
import json, resource, sys
from pathlib import Path
from recsys.data.sources import rows
from recsys.exceptions import SourceLayoutError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
n, refused, error = 0, [], ""
try:
    for batch in rows.read_batches(Path(sys.argv[1]), 3):
        n += len(batch.lines)
        refused += [row.reason for row in batch.refused][:9]
except SourceLayoutError as found:
    error = str(found)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps({"n": n, "refused": refused[:9], "error": error, "megabytes": grown >> 10}))
"""
MEASURED_INGEST = """
import resource, sys
from otaku.cli import app
app(["ingest", sys.argv[1], "--json"], standalone_mode=False)
sys.stdout.write(f"\\n{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10}")
"""


def read_elsewhere(path: Path) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout))


def pack(path: Path, start: bytes, piece: bytes, n: int, end: bytes) -> Path:
    with gzip.open(path, "wb", compresslevel=6) as handle:
        handle.write(b"a,b,c\n1,2,3\n" + start)
        for _ in range(n):
            handle.write(piece)
        handle.write(end)
    return path


def test_a_line_without_end_in_a_small_file_takes_no_memory(tmp_path: Path) -> None:
    path = pack(tmp_path / "rows.csv.gz", b'1,"', b"x" * 10_000_000, 100, b'",3\n1,2,3\n')
    assert path.stat().st_size < 1_500_000

    found = read_elsewhere(path)

    assert found["megabytes"] < MEGABYTES
    assert "unfolds into more than 100 times its size" in found["error"]


def test_a_long_line_is_refused_alone(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    with path.open("wb") as handle:
        handle.write(b"a,b,c\n1,2,3\n")
        handle.write(b"1,2," + b"x" * 300_000_000 + b"\n4,5,6\n")
        handle.write(b'1,"' + b"y\r" * 1_000_000 + b'",3\n7,8,9')

    found = read_elsewhere(path)

    assert found["n"] == 3
    assert found["refused"] == [rows.TOO_LONG, rows.TOO_LONG]
    assert found["error"] == ""
    assert found["megabytes"] < MEGABYTES


def test_many_lines_of_the_greatest_length_come_in_small_batches(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    line = b"1,2," + b"x" * (MAX_LINE_BYTES - 10) + b"\n"
    with path.open("wb") as handle:
        handle.write(b"a,b,c\n")
        for _ in range(3_000):
            handle.write(line)

    found = read_elsewhere(path)

    assert (found["n"], found["refused"]) == (3_000, [])
    assert found["megabytes"] < MEGABYTES


@pytest.mark.parametrize("n_over", [-1, 0, 1])
def test_the_limit_of_a_line_is_exact(tmp_path: Path, n_over: int) -> None:
    path = tmp_path / "rows.csv"
    line = b"1,2,".ljust(MAX_LINE_BYTES - 1 + n_over, b"x") + b"\n"
    path.write_bytes(b"a,b,c\n" + b"0,0,0\n" * 3_000 + line + b"4,5,6\n")

    batches = list(rows.read_batches(path, 3))

    assert sum(len(batch.lines) for batch in batches) == 3_001 + (n_over <= 0)
    assert [row.reason for batch in batches for row in batch.refused] == [rows.TOO_LONG] * (n_over > 0)


def test_blank_and_short_lines_without_end_take_no_memory(tmp_path: Path) -> None:
    path = pack(tmp_path / "rows.csv.gz", b"", b"\n" * 10_000_000, 4, b"1,2,3\n")

    found = read_elsewhere(path)

    assert found["megabytes"] < MEGABYTES
    assert "unfolds" in found["error"]


def write_repeated_text(path: Path) -> None:
    n = 200_000
    long = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array(["x" * 1_000_000]))
    pq.write_table(pa.table({"a": np.arange(n), "b": long, "c": np.arange(n)}), path, store_schema=False)


def write_repeated_text_below_the_limit(path: Path) -> None:
    n = 200_000
    long = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array(["x" * (MAX_CELL_BYTES // 64)]))
    pq.write_table(pa.table({"a": np.arange(n), "b": long, "c": np.arange(n)}), path, store_schema=False)


def write_zeros(path: Path) -> None:
    table = pa.table({name: pa.array(["0" * 1_000] * 200_000) for name in "abc"})
    pq.write_table(table, path, compression="zstd", use_dictionary=False)


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (write_repeated_text, "a text of 1000000 bytes"),
        (write_repeated_text_below_the_limit, ""),
        (write_zeros, "declares"),
    ],
)
def test_a_parquet_file_that_unfolds_takes_no_memory(tmp_path: Path, write: Callable[[Path], None], told: str) -> None:
    path = tmp_path / "rows.parquet"
    write(path)
    assert path.stat().st_size < 4_000_000

    found = read_elsewhere(path)

    assert found["megabytes"] < MEGABYTES
    assert told in found["error"]
    assert found["n"] == (0 if told else 200_000)


def test_what_is_compressed_well_but_is_a_table_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv.gz"
    rng = np.random.default_rng(3)
    with gzip.open(path, "wb") as handle:
        handle.write(b"a,b,c\n")
        for start in range(0, 2_000_000, 100_000):
            users = np.arange(start, start + 100_000) // 200
            values = rng.integers(1, 11, 100_000)
            handle.write(
                "".join(f"{u},{n % 200},{v}\n" for n, (u, v) in enumerate(zip(users, values, strict=True))).encode()
            )

    assert sum(len(batch.lines) for batch in rows.read_batches(path, 3)) == 2_000_000


def test_a_layout_error_names_the_file(tmp_path: Path) -> None:
    path = pack(tmp_path / "ratings.csv.gz", b"", b"0" * 10_000_000, 5, b"")
    with pytest.raises(SourceLayoutError, match=r"ratings\.csv\.gz unfolds"):
        list(rows.read_batches(path, 3))


def write_world_of_bad_rows(folder: Path, n_bad: int) -> None:
    """Write a small catalog, and ratings of which nearly all are refused with as much text as is kept of a row."""
    write_sample_world(folder, n_users=200, n_items=300, n_ratings=5_000, seed=0)
    path = next(folder.glob("*rating*.csv"))
    with path.open("ab") as handle:
        for number in range(n_bad):
            handle.write(b"%d,1,%s\n" % (number, b"x" * 1_900))


def measure_ingest(folder: Path, platform: LocalPlatform) -> tuple[int, dict[str, Any]]:
    """Return the peak of an ingest in MiB, and its report."""
    environment = os.environ | platform.environment()
    done = subprocess.run(
        [sys.executable, "-c", MEASURED_INGEST, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    report, _, peak = done.stdout.rpartition("\n")
    return int(peak), json.loads(report)


@pytest.mark.e2e
def test_an_ingest_of_bad_rows_stays_small(tmp_path: Path) -> None:
    peaks = {}
    with LocalPlatform(build_settings(home=tmp_path / "home"), durable=False) as platform:
        for n_bad in (100, 150_000):
            write_world_of_bad_rows(tmp_path / f"world-{n_bad}", n_bad)
            peaks[n_bad], report = measure_ingest(tmp_path / f"world-{n_bad}", platform)
            assert report["quarantined"]["rating is not a whole number"] == n_bad
    sys.stderr.write(f"peak by refused rows (MiB): {peaks}\n")
    assert peaks[150_000] < peaks[100] + 64  # 285 MB of text
