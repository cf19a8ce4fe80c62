"""Look through the text of a LightGBM model before LightGBM does, which crashes the process on a damaged one."""

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from recsys.exceptions import ArtifactError

_END = "\nend of trees"
_PER_SPLIT = ("split_feature", "threshold", "decision_type", "left_child", "right_child")
_PER_LEAF = ("leaf_value",)


def check_forest_text(text: str) -> int:
    """Check that a model is whole and that its trees are trees, and return how many there are.

    Raises
    ------
    ArtifactError
        If a tree is missing, cut or altered so that walking it would leave it.
    """
    body, end, _ = text.partition(_END)
    header, *trees = body.split("\nTree=")
    if not end:
        raise ArtifactError("the model has no end; it was truncated")
    fields = dict(_read_fields(header))
    sizes = fields.get("tree_sizes", "").split()
    # What a tree takes in the file, its name and the line breaks around it included.
    found = [str(len(tree.encode()) + len("Tree=") + 1) for tree in trees]
    if found[:-1] != sizes[:-1] or len(found) != len(sizes):
        raise ArtifactError(f"the model should hold {len(sizes)} trees of known size; they are not those")
    try:
        n_features = int(fields["max_feature_idx"]) + 1
        for number, tree in enumerate(trees):
            _check_tree(number, dict(_read_fields(tree)), n_features)
    except (KeyError, ValueError) as error:
        raise ArtifactError(f"the model cannot be read: {error}") from error
    return len(trees)


def _read_fields(block: str) -> Iterator[tuple[str, str]]:
    for line in block.splitlines():
        name, _, value = line.partition("=")
        yield name, value


def _check_tree(number: int, fields: Mapping[str, str], n_features: int) -> None:
    n_leaves = int(fields["num_leaves"])
    n_splits = n_leaves - 1
    numbers = {name: _read_numbers(fields.get(name, "")) for name in (*_PER_SPLIT, *_PER_LEAF)}
    lengths = dict.fromkeys(_PER_SPLIT, n_splits) | dict.fromkeys(_PER_LEAF, n_leaves)
    wrong = [name for name, values in numbers.items() if len(values) != lengths[name]]
    if n_leaves < 1 or wrong:
        raise ArtifactError(f"tree {number} should have {n_leaves} leaves, but {', '.join(wrong)} says otherwise")
    features = numbers["split_feature"]
    if ((features < 0) | (features >= n_features)).any():
        raise ArtifactError(f"tree {number} splits on a feature that the model does not know")
    # Every split but the root and every leaf has one parent, and a split comes after its parent.
    children = np.concatenate([numbers["left_child"], numbers["right_child"]])
    parents = np.tile(np.arange(n_splits), 2)
    expected = np.concatenate([np.arange(-n_leaves, 0), np.arange(1, n_splits)]) if n_splits else np.empty(0)
    if not np.array_equal(np.sort(children), expected) or (children[children > 0] <= parents[children > 0]).any():
        raise ArtifactError(f"tree {number} is no tree")
    _check_categories(number, fields, numbers)


def _check_categories(number: int, fields: Mapping[str, str], numbers: Mapping[str, npt.NDArray[np.float64]]) -> None:
    is_categorical = (numbers["decision_type"].astype(np.int64) & 1) > 0
    if not is_categorical.any():
        return
    bounds = _read_numbers(fields.get("cat_boundaries", ""))
    words = _read_numbers(fields.get("cat_threshold", ""))
    sets = numbers["threshold"][is_categorical]
    rises = len(bounds) > 1 and bounds[0] == 0 and bounds[-1] == len(words) and bool((np.diff(bounds) >= 0).all())
    if not rises or ((sets < 0) | (sets >= len(bounds) - 1)).any():
        raise ArtifactError(f"tree {number} splits on categories that are not there")


def _read_numbers(text: str) -> npt.NDArray[np.float64]:
    return np.array(text.split(), dtype=np.float64)
