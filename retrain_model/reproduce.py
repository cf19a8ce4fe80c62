"""Rebuild a version from its recipe and compare it with what is stored, number by number.

The rebuild has a place of its own in S3, `reproduce/<version>`, emptied before it begins; it registers nothing and
touches neither aliases nor the ledger. Vectors of synopses are data here, kept under the digest of each text: those
that are still there are taken, the others are encoded again.
"""

import json
import logging
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np

from recsys.data.splits import TEST, select_group
from recsys.data.users import Users, build_users
from recsys.exceptions import RetrainError
from recsys.ranking.params import Preset
from recsys.recommender import Recommender
from recsys.revision import describe_code
from recsys.settings import Settings
from recsys.storage.snapshots import Snapshot
from retrain_model.context import FITTED, RetrainContext, fetch, publish_once
from retrain_model.environment import describe_environment
from retrain_model.evidence import read_file_digests, read_recipe
from retrain_model.steps.fit import embed_text, fit_retrieval, load_snapshot, train_ranker

log = logging.getLogger(__name__)

N_COMPARED: Final = 100
K: Final = 10


@dataclass(frozen=True)
class Reproduction:
    """How a rebuilt version compares with the stored one.

    Parameters
    ----------
    identical
        All lists, scores and predicted ratings of the compared users are equal, bit for bit.
    largest_difference
        Of a score or a predicted rating at the same place; infinite where lists hold other titles.
    differences
        What differs from the recipe, in sentences: circumstances first, then the first file that came out otherwise.
        May name circumstances even where the predictions are identical.
    """

    version: int
    identical: bool
    n_users: int
    largest_difference: float
    differences: tuple[str, ...]


def reproduce(context: RetrainContext, version: int) -> Reproduction:
    """Rebuild a version in a clean place and compare predictions on 100 users.

    Parameters
    ----------
    context
        Gives the services; day, preset, seed and threads come from the recipe.

    Raises
    ------
    UnknownVersionError
        If there is no such version.
    RetrainError
        If the version has no recipe.
    """
    recipe = read_recipe(context.registry, version)
    place = f"reproduce/{version}"
    context.store.delete_prefix(f"{place}/")
    rebuilt = follow(recipe, context, place)
    _rebuild(rebuilt, recipe["snapshot"])
    with tempfile.TemporaryDirectory(prefix="otaku-") as folder:
        ours = Recommender.load(fetch(rebuilt, "train_ranker", Path(folder)) / "model")
        theirs = Recommender.load(context.registry.download(version, Path(folder)))
        users = _select_users(load_snapshot(rebuilt))
        largest = compare_predictions(ours, theirs, users)
    differences = (*find_other_circumstances(recipe), *_find_other_files(recipe, rebuilt))
    return Reproduction(version, largest == 0, len(users.user_ids), largest, differences)


def follow(recipe: Mapping[str, Any], context: RetrainContext, place: str) -> RetrainContext:
    """Return a context with the settings of a recipe and a place of its own.

    Raises
    ------
    RetrainError
        If the version was trained on a Dask cluster, and this is none.
    """
    is_local = recipe.get("train_on", "local") == "local"
    if not is_local and context.cluster is None:
        raise RetrainError("the version was trained on a Dask cluster; set OTAKU_TRAIN_ON=dask to rebuild it")
    return replace(
        context,
        as_of=date.fromisoformat(recipe["as_of"]),
        preset=Preset.from_dict(recipe["preset"]),
        text_model=recipe["text_model"],
        seed=recipe["seed"],
        # Recipes from before there were such models name none.
        algorithms=tuple(recipe.get("algorithms", ())),
        params=recipe.get("params", {}),
        n_threads=recipe["environment"]["n_threads"],
        attempt=None,
        place=place,
        cluster=None if is_local else _set_workers(recipe, context.cluster),
    )


def _set_workers(recipe: Mapping[str, Any], cluster: Settings | None) -> Settings | None:
    # Recipes from before the number was kept take the workers that there are.
    n_workers = recipe["environment"].get("n_workers")
    return cluster and cluster.model_copy(update={"dask_workers": n_workers})


def _rebuild(context: RetrainContext, snapshot_uri: str) -> None:
    """Fit everything again on the snapshot as it was frozen then, whatever the tables hold by now."""

    def point(folder: Path) -> None:
        (folder / "snapshot.json").write_text(json.dumps({"uri": snapshot_uri}))

    publish_once(context, "snapshot", {"uri": snapshot_uri}, point)
    for step in (embed_text, fit_retrieval, train_ranker):
        log.info("rebuilding: %s", step.__name__)
        step(context)


def _select_users(snapshot: Snapshot) -> Users:
    """Take 100 users in the order of their ids, held-out ones if there are enough of them."""
    testers = select_group(snapshot.interactions, TEST)
    enough = testers if len(testers.user_ids) >= N_COMPARED else snapshot.interactions
    users = build_users(enough, snapshot.catalog)
    return users.select(np.arange(min(N_COMPARED, len(users.user_ids))))


def compare_predictions(ours: Recommender, theirs: Recommender, users: Users) -> float:
    """Return the largest difference of a score or a predicted rating; infinite if any list holds other titles."""
    if not np.array_equal(ours.catalog.item_ids, theirs.catalog.item_ids):
        return float("inf")
    largest = 0.0
    lists = [model.rank(users.history, k=K) for model in (ours, theirs)]
    for (our_titles, our_scores), (their_titles, their_scores) in zip(*lists, strict=True):
        if not np.array_equal(our_titles, their_titles):
            return float("inf")
        largest = max(largest, float(np.abs(our_scores - their_scores).max(initial=0.0)))
    shown = [titles for titles, _ in lists[0]]
    rated = [model.rate(users.history, users.tastes, shown) for model in (ours, theirs)]
    return max(largest, float(np.abs(rated[0] - rated[1]).max(initial=0.0)))


def find_other_circumstances(recipe: Mapping[str, Any]) -> Iterator[str]:
    """Say in which way code and environment are not those of the recipe."""
    before = recipe["environment"]
    now = describe_environment(before["n_threads"])
    for name, value in describe_code().items():
        if value != recipe["code"][name]:
            yield f"code ({name}): {recipe['code'][name]} then, {value} now"
    for name, value in before["packages"].items():
        if value != now["packages"].get(name):
            yield f"package {name}: {value} then, {now['packages'].get(name)} now"
    for name in ("lock", "python", "machine", "blas"):
        if before[name] != now[name]:
            yield f"{name}: {before[name]} then, {now[name]} now"


def _find_other_files(recipe: Mapping[str, Any], rebuilt: RetrainContext) -> Iterator[str]:
    """Name the first file that came out otherwise; all later ones follow from it."""
    for step in FITTED:
        found, expected = read_file_digests(rebuilt, step), recipe["files"][step]
        for name in sorted(found.keys() | expected.keys()):
            if found.get(name) != expected.get(name):
                was, now = (str(digests.get(name, "missing"))[:12] for digests in (expected, found))
                yield f"first file that differs: {step}/{name}, {was} then, {now} now"
                return
