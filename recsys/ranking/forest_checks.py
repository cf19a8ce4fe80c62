"""Look through the text of a LightGBM model before LightGBM does, which crashes the process on a damaged one.

LightGBM believes what the text says about itself: it divides by a count of 0, reads an array that is shorter than told
beyond its end, and does not know line ends that Python knows. So nothing is passed on but the grammar that it writes:
printable ASCII, known fields, each once, of the declared length, and numbers that are numbers.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from recsys.exceptions import ArtifactError
from recsys.ranking.forest_text import PLAIN_OBJECTIVES

MAX_LEAVES: Final = 16_384  # of a tree
# LightGBM walks some trees by recursion, and explains with memory that grows with the square of the depth.
MAX_DEPTH: Final = 1_024
_END: Final = "\nend of trees\n"
_TEXT: Final = re.compile(r"[\n\x20-\x7e]*")
_WHOLE: Final = re.compile(r"-?\d{1,18}(?: -?\d{1,18})*")
_DECIMAL: Final = r"-?\d{1,32}(?:\.\d{1,64})?(?:e[+-]?\d{1,3})?"
_DECIMALS: Final = re.compile(f"{_DECIMAL}(?: {_DECIMAL})*")
# A split that sends nothing but missing values to the right has an infinite limit.
_LIMITS: Final = re.compile(f"(?:{_DECIMAL}|inf)(?: (?:{_DECIMAL}|inf))*")
_OBJECTIVE: Final = re.compile(r"[a-z][a-z0-9_]*(?: [a-z_]+(?::-?\d+(?:\.\d+)?)?)*")
_TAIL: Final = re.compile(
    r"\nfeature_importances:\n(?:[!-~]+=\d+(?:\.\d+)?\n)*"
    r"\nparameters:\n(?:\[[a-z0-9_]+: [^:\[\]\"\\\n]*\]\n)*\nend of parameters\n"
    r"(?:\npandas_categorical:(?:null|\[\])\n?)?"
)
_INT32: Final = 2**31 - 1
_WORD: Final = 2**32 - 1  # of a set of categories
_HIGHEST_DECISION: Final = 11  # bits 0 and 1, and 0 to 2 for what is missing

_FIXED: Final = {"num_class": "1", "num_tree_per_iteration": "1", "label_index": "0"}
_HEADER: Final = {*_FIXED, "version", "max_feature_idx", "objective", "feature_names", "feature_infos", "tree_sizes"}
_OPTIONAL: Final = {"monotone_constraints"}


class _Field(NamedTuple):
    """A field of a tree: whether its numbers are whole, and of what there is one each."""

    is_whole: bool
    of: str
    is_required: bool = True


_FIELDS: Final[Mapping[str, _Field]] = {
    "num_leaves": _Field(True, "tree"),
    "num_cat": _Field(True, "tree"),
    "split_feature": _Field(True, "split"),
    "split_gain": _Field(False, "split", False),
    "threshold": _Field(False, "split"),
    "decision_type": _Field(True, "split"),
    "left_child": _Field(True, "split"),
    "right_child": _Field(True, "split"),
    "leaf_value": _Field(False, "leaf"),
    "leaf_weight": _Field(False, "leaf", False),
    "leaf_count": _Field(True, "leaf", False),
    "internal_value": _Field(False, "split", False),
    "internal_weight": _Field(False, "split", False),
    "internal_count": _Field(True, "split", False),
    "cat_boundaries": _Field(True, "bound", False),
    "cat_threshold": _Field(True, "word", False),
    "is_linear": _Field(True, "tree", False),
    "shrinkage": _Field(False, "tree", False),
}
_Numbers = Mapping[str, npt.NDArray[np.float64]]


def check_forest_text(text: str) -> int:
    """Check that a model is whole and that its trees are trees, and return how many there are.

    Raises
    ------
    ArtifactError
        If anything is not as LightGBM writes it: a tree is missing, cut or altered so that walking it would leave it, a
        number is none or out of its range, a field is unknown, repeated or of another length than declared.
    """
    if not _TEXT.fullmatch(text):
        raise ArtifactError("the model holds a character that LightGBM does not write")
    body, end, tail = text.partition(_END)
    header, *trees = body.split("\nTree=")
    if not end:
        raise ArtifactError("the model has no end; it was truncated")
    sizes, n_features = _check_header(header)
    # What a tree takes in the file, its name and the line breaks around it included.
    found = [str(len(tree) + len("Tree=") + 1) for tree in trees]
    if found[:-1] != sizes[:-1] or len(found) != len(sizes):
        raise ArtifactError(f"the model should hold {len(sizes)} trees of known size; they are not those")
    if trees and abs(int(sizes[-1]) - int(found[-1])) > 2:  # line breaks
        raise ArtifactError("the last tree of the model has another size than declared")
    for number, tree in enumerate(trees):
        _check_tree(number, tree, n_features)
    _check_tail(tail)
    return len(trees)


def _check_header(header: str) -> tuple[list[str], int]:
    """Return the declared sizes of the trees, and how many features there are."""
    first, *lines = header.split("\n")
    fields = _read_fields("the header", [line for line in lines if line])
    if first != "tree" or not _HEADER <= set(fields) <= _HEADER | _OPTIONAL:
        raise ArtifactError("the header of the model has other fields than LightGBM writes")
    wrong = [name for name, value in _FIXED.items() if fields[name] != value]
    if wrong or not re.fullmatch(r"v\d{1,2}", fields["version"]):
        raise ArtifactError(f"the header of the model has another {wrong[0] if wrong else 'version'} than is read here")
    objective = fields["objective"]
    if not _OBJECTIVE.fullmatch(objective) or objective.split(" ")[0] not in PLAIN_OBJECTIVES:
        raise ArtifactError(f"the objective of the model cannot be {objective[:100]!r}")
    n_features = int(_read_numbers("the header", "max_feature_idx", fields["max_feature_idx"], True)[0]) + 1
    names, infos = fields["feature_names"].split(" "), fields["feature_infos"].split(" ")
    if not 1 <= n_features == len(names) == len(infos) or not all(names):
        raise ArtifactError(f"the model should have {n_features} features; it names {len(names)} and {len(infos)}")
    constraints = fields.get("monotone_constraints")
    if constraints is not None and not re.fullmatch(r"-?[01](?: -?[01])*", constraints):
        raise ArtifactError("the constraints of the model are none")
    sizes = fields["tree_sizes"].split(" ") if fields["tree_sizes"] else []
    if not all(re.fullmatch(r"\d{1,12}", size) for size in sizes):
        raise ArtifactError("the sizes of the trees are no numbers")
    return sizes, n_features


def _read_fields(what: str, lines: list[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in lines:
        name, equals, value = line.partition("=")
        if not equals or name in fields:
            raise ArtifactError(f"{what} has a line that is none, or the same one twice: {line[:40]!r}")
        fields[name] = value
    return fields


def _read_numbers(what: str, name: str, text: str, is_whole: bool) -> npt.NDArray[np.float64]:
    if not text:
        return np.empty(0)
    is_limit = name == "threshold"
    if not (_WHOLE if is_whole else _LIMITS if is_limit else _DECIMALS).fullmatch(text):
        raise ArtifactError(f"{name} of {what} holds something that is no {'whole ' * is_whole}number")
    numbers = np.array(text.split(" "), dtype=np.float64)
    if not np.isfinite(numbers).all() and not is_limit:
        raise ArtifactError(f"{name} of {what} holds a number that is too large")
    return numbers


def _check_tree(number: int, text: str, n_features: int) -> None:
    what = f"tree {number}"
    told, *lines = text.rstrip("\n").split("\n")
    fields = _read_fields(what, lines)
    missing = {name for name, field in _FIELDS.items() if field.is_required} - set(fields)
    if told != str(number) or missing or not set(fields) <= set(_FIELDS):
        raise ArtifactError(f"{what} has other fields than LightGBM writes")
    numbers = {name: _read_numbers(what, name, value, _FIELDS[name].is_whole) for name, value in fields.items()}
    _check_lengths(what, numbers)
    features = numbers["split_feature"]
    if ((features < 0) | (features >= n_features)).any():
        raise ArtifactError(f"{what} splits on a feature that the model does not know")
    decisions = numbers["decision_type"]
    if ((decisions < 0) | (decisions > _HIGHEST_DECISION)).any() or numbers.get("is_linear", np.zeros(1)).any():
        raise ArtifactError(f"{what} decides in a way that is not known")
    if any((np.abs(numbers[name]) > _INT32).any() for name in ("leaf_count", "internal_count") if name in numbers):
        raise ArtifactError(f"{what} counts more rows than there can be")
    _check_children(what, numbers)
    _check_categories(what, numbers)


def _check_lengths(what: str, numbers: _Numbers) -> None:
    """Check that each field has the numbers that leaves and sets of categories call for."""
    single = {name: values for name, values in numbers.items() if _FIELDS[name].of == "tree"}
    if any(len(values) != 1 for values in single.values()):
        raise ArtifactError(f"{what} should say one number of leaves and of sets")
    n_leaves, n_sets = numbers["num_leaves"][0], numbers["num_cat"][0]
    if not (1 <= n_leaves <= MAX_LEAVES and 0 <= n_sets < n_leaves):
        raise ArtifactError(f"{what} cannot have {n_leaves:.0f} leaves and {n_sets:.0f} sets of categories")
    lengths = {"split": n_leaves - 1, "leaf": n_leaves, "bound": n_sets + 1 if n_sets else 0}
    wrong = []
    for name, values in numbers.items():
        expected = lengths.get(_FIELDS[name].of)
        # A tree without a split need not say what its only leaf holds.
        is_left_out = n_leaves == 1 and not len(values) and not _FIELDS[name].is_required
        if expected is not None and len(values) != expected and not is_left_out:
            wrong.append(name)
    if wrong:
        raise ArtifactError(f"{what} should have {n_leaves:.0f} leaves, but {', '.join(wrong)} says otherwise")


def _check_children(what: str, numbers: _Numbers) -> None:
    """Check that every split but the root and every leaf has one parent, and that a split comes after its parent."""
    n_splits = len(numbers["left_child"])
    if not n_splits:
        return
    children = np.concatenate([numbers["left_child"], numbers["right_child"]])
    parents = np.tile(np.arange(n_splits), 2)
    expected = np.concatenate([np.arange(-n_splits - 1, 0), np.arange(1, n_splits)])
    if not np.array_equal(np.sort(children), expected) or (children[children > 0] <= parents[children > 0]).any():
        raise ArtifactError(f"{what} is no tree")
    if n_splits > MAX_DEPTH and _compute_depth(children.astype(np.int64), parents) > MAX_DEPTH:
        raise ArtifactError(f"{what} is deeper than {MAX_DEPTH} splits")


def _compute_depth(children: npt.NDArray[np.int64], parents: npt.NDArray[np.int64]) -> int:
    depths = np.zeros(len(children) // 2, dtype=np.int64)
    for child, parent in sorted(zip(children.tolist(), parents.tolist(), strict=True)):
        if child > 0:
            depths[child] = depths[parent] + 1
    return int(depths.max()) + 1


def _check_categories(what: str, numbers: _Numbers) -> None:
    n_sets = int(numbers["num_cat"][0])
    is_categorical = (numbers["decision_type"].astype(np.int64) & 1) > 0
    bounds, words = numbers.get("cat_boundaries", np.empty(0)), numbers.get("cat_threshold", np.empty(0))
    if len(bounds) != (n_sets + 1 if n_sets else 0) or (not n_sets and (is_categorical.any() or len(words))):
        raise ArtifactError(f"{what} splits on categories that are not there")
    if not n_sets:
        return
    sets = numbers["threshold"][is_categorical]
    rises = bounds[0] == 0 and bounds[-1] == len(words) and bool((np.diff(bounds) > 0).all())
    if not rises or ((sets < 0) | (sets >= n_sets) | (sets != np.floor(sets))).any():
        raise ArtifactError(f"{what} splits on categories that are not there")
    if ((words < 0) | (words > _WORD)).any():
        raise ArtifactError(f"{what} has a set of categories that is none")


def _check_tail(tail: str) -> None:
    """Check what follows the trees: importances and parameters, which LightGBM takes apart without looking."""
    if not _TAIL.fullmatch(tail) or re.search(r"\[linear_tree: (?!0\])", tail):
        raise ArtifactError("something follows the trees that LightGBM does not write")
