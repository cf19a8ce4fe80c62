"""The steps of a retraining: each takes a `RetrainContext` and returns a URI, the gate its decision.

snapshot → embed_text → fit_retrieval → train_ranker → evaluate → gate → request_approval → promote | keep

Every step is idempotent under the key of the run, can be killed at any instant and run again.
"""

from retrain_model.steps.approval import request_approval
from retrain_model.steps.decision import gate, keep, promote
from retrain_model.steps.evaluation import evaluate, read_evaluation
from retrain_model.steps.fit import embed_text, find_snapshot_uri, fit_retrieval, load_snapshot, snapshot, train_ranker

STEPS = ("snapshot", "embed_text", "fit_retrieval", "train_ranker", "evaluate", "gate")

__all__ = [
    "STEPS",
    "embed_text",
    "evaluate",
    "find_snapshot_uri",
    "fit_retrieval",
    "gate",
    "keep",
    "load_snapshot",
    "promote",
    "read_evaluation",
    "request_approval",
    "snapshot",
    "train_ranker",
]
