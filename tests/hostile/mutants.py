"""Mutants of stored versions: each is loaded and asked, and none may end the process.

`python -m tests.hostile.mutants FOLDER --number 20000` prints how many were refused and how many answered. A process
that ends is started again behind the mutant that ended it, which is named.
"""

import argparse
import json
import re
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.fork_server import ROOT, run_program

Random = np.random.Generator
_NUMBERS = (b"0", b"-1", b"1", b"2147483648", b"-2147483649", b"99999999999999999999", b"1e308", b"nan", b"0.5", b"")
_PIECES = (b"\n", b"\x0b", b"\xe2\x80\xa8", b"=", b" ", b"[", b"]", b"{", b"\x00", b"\xff", b"Tree=3\n", b"null", b'"')


def flip_bytes(content: bytearray, rng: Random) -> None:
    """Change one to eight bytes."""
    for place in rng.integers(0, len(content), rng.integers(1, 9)):
        content[place] = rng.integers(0, 256)


def change_number(content: bytearray, rng: Random) -> None:
    """Replace a number of a text by another one, one of few that are often forgotten."""
    start = int(rng.integers(0, len(content)))
    found = re.compile(rb"-?\d+(?:\.\d+)?").search(content, start)
    if found is not None:
        content[found.start() : found.end()] = _NUMBERS[rng.integers(0, len(_NUMBERS))]


def insert_piece(content: bytearray, rng: Random) -> None:
    """Insert what ends a line, a number or a document."""
    place = int(rng.integers(0, len(content)))
    content[place:place] = _PIECES[rng.integers(0, len(_PIECES))]


def move_part(content: bytearray, rng: Random) -> None:
    """Copy a part to another place, over what is there or before it."""
    start, place = (int(number) for number in rng.integers(0, len(content), 2))
    part = content[start : start + int(rng.integers(1, 200))]
    content[place : place + len(part) * int(rng.integers(0, 2))] = part


def cut_part(content: bytearray, rng: Random) -> None:
    """Leave a part out, or all of the rest."""
    start = int(rng.integers(0, len(content)))
    del content[start : start + int(rng.integers(1, 200)) if rng.random() < 0.8 else len(content)]


def change_word(content: bytearray, rng: Random) -> None:
    """Replace four aligned bytes, as indices and lengths have them."""
    place = int(rng.integers(0, max(len(content) // 4, 1))) * 4
    values = np.array([rng.choice([0, -1, 1, 2**31 - 1, -(2**31), 65_536, 255])], dtype=np.int64).astype("<i4")
    content[place : place + 4] = values.tobytes()


MUTATIONS: tuple[Callable[[bytearray, Random], None], ...] = (
    flip_bytes,
    change_number,
    insert_piece,
    move_part,
    cut_part,
    change_word,
)


def keep_sums(path: Path) -> None:
    """Let the sums of an NPZ file agree with its content, as those of a tampered one would."""
    content = bytearray(path.read_bytes())
    place = 0
    sums: list[bytes] = []
    while content[place : place + 4] == b"PK\x03\x04":
        size = int.from_bytes(content[place + 18 : place + 22], "little")
        names, extra = (int.from_bytes(content[place + at : place + at + 2], "little") for at in (26, 28))
        if size == 0xFFFFFFFF:
            size = int.from_bytes(content[place + 30 + names + 4 : place + 30 + names + 12], "little")
        start = place + 30 + names + extra
        found = zlib.crc32(content[start : start + size]).to_bytes(4, "little")
        content[place + 14 : place + 18] = found
        sums.append(found)
        place = start + size
    for one in sums:
        if content[place : place + 4] != b"PK\x01\x02":
            break
        content[place + 16 : place + 20] = one
        place += 46 + sum(int.from_bytes(content[place + at : place + at + 2], "little") for at in (28, 30, 32))
    path.write_bytes(content)


def write_mutant(original: Path, target: Path, number: int) -> str:
    """Change one file of a version and return what was done to which."""
    rng = np.random.default_rng(number)
    files = sorted(path for path in original.rglob("*") if path.is_file())
    path = files[rng.integers(0, len(files))]
    content = bytearray(path.read_bytes())
    done = []
    for _ in range(rng.integers(1, 4)):
        mutation = MUTATIONS[rng.integers(0, len(MUTATIONS))]
        if content:
            mutation(content, rng)
        done.append(mutation.__name__)
    place = target / path.relative_to(original)
    place.write_bytes(content)
    if path.suffix == ".npz" and rng.random() < 0.8:
        keep_sums(place)
    return f"{path.name}: {', '.join(done)}"


def try_mutants(original: Path, first: int, last: int, report: Path) -> None:
    """Load and ask mutants, noting each before it is tried."""
    from recsys.recommender import Recommender, UserProfile
    from recsys.recommender.golden import check_golden_requests

    with tempfile.TemporaryDirectory() as place:
        for number in range(first, last):
            folder = Path(place) / "mutant"
            shutil.copytree(original, folder)
            what = write_mutant(original, folder, number)
            with report.open("a") as lines:
                lines.write(json.dumps({"number": number, "what": what}) + "\n")
            try:
                recommender = Recommender.load(folder)
                check_golden_requests(recommender, folder)
                catalog = recommender.catalog
                rated = UserProfile(catalog.item_ids[:3], np.full(3, 9, dtype=np.float32))
                for generator in recommender.retriever.generators.values():
                    generator.score(rated.to_history(catalog))
                outcome = "answered"
            except Exception as error:  # noqa: BLE001 - a refusal, of whatever kind
                outcome = type(error).__name__
            with report.open("a") as lines:
                lines.write(json.dumps({"number": number, "outcome": outcome}) + "\n")
            shutil.rmtree(folder)


def run_mutants(original: Path, number: int) -> tuple[dict[str, int], list[str]]:
    """Try mutants 0 to `number` in processes of their own; return outcomes, and what ended a process."""
    outcomes: dict[str, int] = {}
    ended: list[str] = []
    first = 0
    with tempfile.TemporaryDirectory() as place:
        while first < number:
            report = Path(place) / f"from-{first}.jsonl"
            report.touch()
            parts = ["--from", str(first), "--number", str(number), "--report", str(report)]
            done = run_program(["-m", "tests.hostile.mutants", original, *parts], cwd=ROOT)
            lines = [json.loads(line) for line in report.read_text().splitlines()]
            for line in lines:
                if "outcome" in line:
                    outcomes[line["outcome"]] = outcomes.get(line["outcome"], 0) + 1
            if not done.returncode:
                break
            told = lines[-1] if lines else {"number": first}
            ended.append(f"{told} ended with {done.returncode}")
            first = int(told["number"]) + 1
    return outcomes, ended


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--number", type=int, default=20_000)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    if given.report is not None:
        try_mutants(given.folder, given.first, given.number, given.report)
        return
    outcomes, ended = run_mutants(given.folder, given.number)
    sys.stdout.write(json.dumps({"mutants": given.number, "outcomes": outcomes, "ended": ended}, indent=1) + "\n")


if __name__ == "__main__":
    main()
