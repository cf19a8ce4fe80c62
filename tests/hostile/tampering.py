"""Ways to tamper with a version whose digest is right, each of which ended the process that loaded it."""

import json
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

Damage = Callable[[Path], None]
_FOREST = "relevance.lgb.txt"


def change_header(name: str, value: str) -> Damage:
    """Give a field of the header of a forest another value."""

    def damage(folder: Path) -> None:
        path = folder / _FOREST
        path.write_text(re.sub(rf"(?m)^{name}=.*$", f"{name}={value}", path.read_text(), count=1))

    return damage


def change_tree(pattern: str, replacement: str) -> Damage:
    """Replace a line of the first tree of a forest and declare the size that it has then."""

    def damage(folder: Path) -> None:
        path = folder / _FOREST
        head, *trees = path.read_text().split("\nTree=")
        changed = re.sub(pattern, replacement, trees[0], count=1, flags=re.MULTILINE)
        assert changed != trees[0]
        sizes = re.search(r"tree_sizes=(\d+)", head)
        assert sizes is not None
        size = int(sizes[1]) + len(changed.encode()) - len(trees[0].encode())
        head = head.replace(sizes[0], f"tree_sizes={size}")
        path.write_text("\nTree=".join([head, changed, *trees[1:]]))

    return damage


def change_array(file: str, name: str, change: Callable[[np.ndarray], np.ndarray]) -> Damage:
    """Change one array of an NPZ file."""

    def damage(folder: Path) -> None:
        with np.load(folder / file) as stored:
            arrays = {key: stored[key] for key in stored.files}
        arrays[name] = change(arrays[name])
        np.savez(folder / file, **arrays)

    return damage


def _point_outside(values: np.ndarray) -> np.ndarray:
    changed = values.copy()
    changed[-1] = 2**30
    return changed


def _overflow(values: np.ndarray) -> np.ndarray:
    changed = values.astype(np.int32)
    changed[1:3] = 2**31 - 1, -(2**31)
    return changed


def change_text(folder: Path, old: str, new: str) -> None:
    """Replace a text of a forest."""
    path = folder / _FOREST
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def _go_back(values: np.ndarray) -> np.ndarray:
    changed = values.copy()
    changed[1] = -5
    return changed


def compress_a_bomb(folder: Path) -> None:
    """Three megabytes that are three gigabytes once they are read."""
    header = b"\x93NUMPY\x01\x00"
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (80, 9000000), }".ljust(117) + b"\n"
    with (
        zipfile.ZipFile(folder / "text_vectors.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("vectors.npy", "w", force_zip64=True) as handle,
    ):
        handle.write(header + struct.pack("<H", len(text)) + text)
        for _ in range(180):
            handle.write(bytes(16_000_000))


def declare_a_bomb(folder: Path) -> None:
    """Two hundred bytes that declare an array of terabytes."""
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (80, 9000000000), }".ljust(117) + b"\n"
    with zipfile.ZipFile(folder / "text_vectors.npz", "w") as archive:
        archive.writestr("vectors.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text)


def unfold_a_catalog(folder: Path) -> None:
    """A catalog whose synopses are one long text, stored once and repeated."""
    table = pq.read_table(folder / "catalog.parquet")
    n_rows = 40_000
    taken = table.take(pa.array(np.arange(n_rows) % len(table)))
    place = taken.schema.get_field_index("synopsis")
    long = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n_rows, np.int32)), pa.array(["x" * 100_000]))
    pq.write_table(taken.set_column(place, "synopsis", long), folder / "catalog.parquet", store_schema=False)


def nest_deeply(folder: Path) -> None:
    """A JSON document that is nested a hundred thousand times."""
    (folder / "schema.json").write_text("[" * 100_000 + "]" * 100_000)


def ask_for_too_many(folder: Path) -> None:
    """A number of candidates that no list needs."""
    settings = json.loads((folder / "recommender.json").read_text())
    (folder / "recommender.json").write_text(json.dumps({**settings, "n_per_model": 10**15}))


TAMPERINGS: dict[str, Damage] = {
    "no trees an iteration": change_header("num_tree_per_iteration", "0"),
    "fewer than no trees an iteration": change_header("num_tree_per_iteration", "-1"),
    "many trees an iteration": change_header("num_tree_per_iteration", "1000000"),
    "no class": change_header("num_class", "0"),
    "an objective of many classes": change_header("objective", "multiclass num_class:100000000"),
    "more features than names": change_header("max_feature_idx", "100000000"),
    "sets of categories that are not there": change_tree(r"^num_cat=0$", "num_cat=5"),
    "fewer sets than none": change_tree(r"^num_cat=0$", "num_cat=-3"),
    "a sign among the numbers of leaves": change_tree(r"^num_leaves=(\d+)$", r"num_leaves=-\1"),
    "an array that is too short": change_tree(r"^(leaf_weight=\S+) .*$", r"\1"),
    "an array that is too long": change_tree(r"^(internal_count=.*)$", r"\1 1 1 1"),
    "a decimal where a whole number stands": change_tree(r"^(split_feature=)\S+", r"\g<1>1.5e9"),
    "a text where a number stands": change_tree(r"^(threshold=)\S+", r"\g<1>0x10"),
    "a value that is none": change_tree(r"^(leaf_value=)\S+", r"\g<1>nan"),
    "a field twice": change_tree(r"^num_leaves=(\d+)$", r"num_leaves=\1\nnum_leaves=2"),
    "a field that is unknown": change_tree(r"^shrinkage=", "leaf_coeff=1 2\nshrinkage="),
    "linear leaves": change_tree(r"^is_linear=0$", "is_linear=1"),
    "a decision that is unknown": change_tree(r"^(decision_type=)\S+", r"\g<1>127"),
    "a line end that only Python knows": change_tree(r"^num_cat=0$", "num_cat=0\x0bnum_cat=9"),
    "a line end of Unicode": change_tree(r"^num_cat=0$", "num_cat=0\u2028num_cat=9"),
    "a tree that leads back": change_tree(r"^(left_child=)\S+", r"\g<1>0"),
    "a parameter that is none": lambda folder: change_text(folder, "[boosting: gbdt]", "[boosting gbdt"),
    "rows whose differences overflow": change_array("ease.npz", "indptr", _overflow),
    "indices outside a matrix": change_array("ease.npz", "indices", _point_outside),
    "indices before a matrix": change_array("ease.npz", "indices", lambda values: values * 0 - 1),
    "rows that go back": change_array("item_knn.npz", "indptr", _go_back),
    "rows that end too late": change_array("title_neighbours.npz", "indptr", lambda values: values * 1000),
    "a matrix that is not square": change_array("ease.npz", "shape", lambda values: values * [1, 100_000]),
    "vectors of another catalog": change_array("lightfm.npz", "vectors", lambda values: values[:-1]),
    "a compressed bomb": compress_a_bomb,
    "a declared bomb": declare_a_bomb,
    "a catalog that unfolds": unfold_a_catalog,
    "a nested document": nest_deeply,
    "too many candidates": ask_for_too_many,
}
