"""Groups and hidden ratings are functions of ids alone."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.interactions import Interactions
from recsys.data.splits import assign_folds, assign_groups, hash_ids, select_group, split_history


def build_interactions(n_users: int = 60, seed: int = 0) -> Interactions:
    rng = np.random.default_rng(seed)
    rows = [
        (user, item, int(rng.integers(1, 11)))
        for user in range(n_users)
        for item in rng.choice(500, size=int(rng.integers(1, 60)), replace=False)
    ]
    return Interactions(pd.DataFrame(rows, columns=["user_id", "item_id", "rating"]))


def test_groups_never_change() -> None:
    # Written down once: another result would move test users into training.
    expected = "train train train train train test validation train train train train train"
    assert " ".join(assign_groups(np.arange(12))) == expected


def test_groups_have_the_agreed_shares() -> None:
    names, counts = np.unique(assign_groups(np.arange(100_000)), return_counts=True)
    assert dict(zip(names.tolist(), (counts / 1000).round().tolist(), strict=True)) == {
        "train": 80.0,
        "validation": 10.0,
        "test": 10.0,
    }


def test_folds_are_independent_of_groups() -> None:
    ids = np.arange(50_000)
    in_test = assign_groups(ids) == "test"
    shares = np.bincount(assign_folds(ids[in_test], 4)) / in_test.sum()
    assert np.allclose(shares, 0.25, atol=0.02)


@given(st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=50, unique=True), st.integers(0, 2**32))
def test_hashes_differ_by_id_and_depend_on_nothing_else(ids: list[int], salt: int) -> None:
    together = hash_ids(ids, salt=salt)
    alone = np.concatenate([hash_ids([value], salt=salt) for value in ids])
    assert np.array_equal(together, alone)
    assert len(np.unique(together)) == len(ids)


def test_history_and_targets_partition_the_ratings() -> None:
    interactions = build_interactions()
    split = split_history(interactions)
    joined = pd.concat([split.history.table, split.targets.table])
    pd.testing.assert_frame_equal(Interactions(joined).table, interactions.table)


def test_a_fifth_is_hidden_and_nobody_with_two_ratings_is_left_out() -> None:
    split = split_history(build_interactions())
    n_history = split.history.table.groupby("user_id").size()
    n_targets = split.targets.table.groupby("user_id").size().reindex(n_history.index, fill_value=0)
    total = n_history + n_targets
    expected = np.where(total > 1, np.maximum(1, np.rint(0.2 * total)), 0)
    assert (n_targets.to_numpy() == expected).all()


def test_the_split_of_a_user_does_not_depend_on_others_or_on_ratings() -> None:
    interactions = build_interactions()
    whole = split_history(interactions).targets.table
    changed = interactions.table.assign(rating=1)
    alone = split_history(Interactions(changed[changed["user_id"] == 7].sample(frac=1, random_state=0))).targets.table
    assert alone["item_id"].tolist() == whole[whole["user_id"] == 7]["item_id"].tolist()


def test_groups_of_interactions_are_disjoint_and_complete() -> None:
    interactions = build_interactions()
    parts = [select_group(interactions, name) for name in ("train", "validation", "test")]
    assert sum(len(part) for part in parts) == len(interactions)
    assert not set(parts[0].user_ids.tolist()) & set(parts[2].user_ids.tolist())
