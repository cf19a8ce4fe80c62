"""Compute metrics with RecTools, in an environment of its own: worlds in as JSON on stdin, values out on stdout."""

import json
import sys
from typing import Any

import numpy as np
import pandas as pd
from rectools.metrics import MRR, NDCG, CatalogCoverage, HitRate, IntraListDiversity, MeanInvUserFreq, Precision, Recall
from rectools.metrics.distances import PairwiseDistanceCalculator


class CosineDistances(PairwiseDistanceCalculator):
    """One minus the cosine of unit vectors; RecTools itself brings the Hamming distance only."""

    def __init__(self, units: list[list[float]]) -> None:
        self.units = np.asarray(units)

    def _get_distances_for_item_pairs(self, items_0: Any, items_1: Any) -> Any:
        return 1.0 - (self.units[np.asarray(items_0)] * self.units[np.asarray(items_1)]).sum(axis=1)


def measure(world: dict[str, Any]) -> dict[str, Any]:
    """Return every metric by name: values by user, and one number for the catalog."""
    k = world["k"]
    reco = pd.DataFrame(world["reco"], columns=["user_id", "item_id", "rank"])
    targets = pd.DataFrame(world["targets"], columns=["user_id", "item_id"])
    previous = pd.DataFrame(world["previous"], columns=["user_id", "item_id"])
    ranking = {
        "ndcg": NDCG(k, divide_by_achievable=True),
        "recall": Recall(k),
        "precision": Precision(k),
        "hit_rate": HitRate(k),
        "reciprocal_rank": MRR(k),
    }
    found = {name: metric.calc_per_user(reco, targets) for name, metric in ranking.items()}
    found["novelty"] = MeanInvUserFreq(k).calc_per_user(reco, previous)
    found["diversity"] = IntraListDiversity(k, CosineDistances(world["units"])).calc_per_user(reco)
    values = {name: {str(user): float(value) for user, value in series.items()} for name, series in found.items()}
    return values | {"coverage": CatalogCoverage(k, normalize=True).calc(reco, range(world["n_items"]))}


if __name__ == "__main__":
    json.dump([measure(world) for world in json.load(sys.stdin)], sys.stdout)
