"""Retrain in a process that may be told to kill itself right after a commit point.

`python -m tests.retrain_model.crash ORDER`, in JSON: `as_of`, and perhaps `die_after` (the name of a commit point) and
`signal`, `approval`, and `answer` (to a request for approval, instead of a retraining). The name of each commit point
is written to stdout. First-stage models and heads are made tiny and texts get made-up vectors, figures are not
drawn: what is tested here is what is written when, not how well it predicts.
"""

import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np

STEP_MANIFEST = "manifest.json"
PLACES = {"snapshots": "data frozen", "embeddings": "text vectors kept", "mlflow": "model files stored"}


def name_manifest(key: str) -> str | None:
    """Name the commit point of a manifest in S3."""
    parts = key.split("/")
    if parts[-1] != STEP_MANIFEST:
        return None
    return f"{parts[2]} published" if parts[0] == "retrain" else PLACES[parts[0]]


def embed(texts: Sequence[str], *_: Any, **__: Any) -> np.ndarray:
    """Make vectors up, the same for the same text."""
    seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") for text in texts]
    return np.stack([np.random.default_rng(seed).normal(size=384).astype(np.float32) for seed in seeds])


def shrink() -> None:
    """Replace what is slow by something small."""
    from recsys.evaluation import evaluate as evaluate_module
    from recsys.ranking import params
    from recsys.retrieval.ease_mixture import EaseMixture
    from recsys.retrieval.embedding import Als, LightFm
    from recsys.retrieval.item_item import ItemKnn
    from recsys.retrieval.popular import Popular
    from recsys.retrieval.spec import ModelInputs
    from recsys.storage.registry import runs
    from retrain_model import job, text_cache
    from retrain_model.steps import fit

    small = {"n_estimators": 5, "num_leaves": 4}
    preset = params.get_preset("default")
    tiny = replace(
        preset, n_per_model=10, relevance=replace(preset.relevance, **small), rating=replace(preset.rating, **small)
    )

    def models(inputs: ModelInputs) -> list[Any]:
        als, lightfm = Als(n_factors=4, n_iterations=1, seed=inputs.seed), LightFm(4, 1, seed=inputs.seed)
        return [EaseMixture(), als, ItemKnn(), lightfm, Popular()]

    fit.make_first_stage = models
    text_cache.embed_texts = embed
    job.get_preset = lambda _name: tiny  # type: ignore[assignment]
    evaluate_module.measure_scoring_ms = lambda *_: 1.0  # type: ignore[assignment]
    runs._draw = lambda _figure: b"drawn"


def watch(reached: Callable[[str], None]) -> None:
    """Call `reached` with the name of each commit point, right after it was made."""
    from mlflow.tracking import MlflowClient

    from recsys.storage import promotion
    from recsys.storage.artifacts import ArtifactStore
    from recsys.storage.registry import Registry
    from recsys.storage.version_notes import CARD_TAG
    from retrain_model.context import APPROVAL_POINT
    from retrain_model.steps import approval

    def after(owner: Any, name: str, describe: Callable[..., str | None]) -> None:
        original = getattr(owner, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            point = describe(*args, **kwargs)
            if point is not None:
                reached(point)
            return result

        setattr(owner, name, wrapped)

    after(ArtifactStore, "write_bytes", lambda _self, key, _content: name_manifest(key))
    after(MlflowClient, "create_run", lambda *_, **__: "run created")
    after(MlflowClient, "create_logged_model", lambda *_, **__: "model place created")
    after(MlflowClient, "create_model_version", lambda *_, **__: "version registered")
    after(MlflowClient, "set_terminated", lambda *_, **__: "run finished")
    after(MlflowClient, "set_registered_model_alias", lambda _self, _name, alias, _version: f"{alias} moved")
    after(
        Registry,
        "annotate",
        lambda _self, _version, tags, _text: "version described" if CARD_TAG in tags else "decision shown",
    )
    after(approval, "store_request", lambda *_, **__: APPROVAL_POINT)
    complete = promotion._complete

    def completing(*args: Any) -> Any:  # its transaction has ended when it is called
        reached("decision written")
        return complete(*args)

    promotion._complete = completing


def run(order: dict[str, Any]) -> None:
    """Be the job."""
    # As under Airflow, where a task that is told to stop unwinds its stack.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    def reached(point: str) -> None:
        os.write(1, f"reached {point}\n".encode())
        if point == order.get("die_after"):
            os.kill(os.getpid(), order["signal"])

    shrink()
    watch(reached)
    from recsys.storage.approvals import answer_request
    from retrain_model.job import open_context, retrain

    with open_context(date.fromisoformat(order["as_of"]), approval=order.get("approval")) as context:
        if "answer" not in order:
            retrain(context)
            return
        answer = {"approve": order["answer"], "responder": "mai", "reason": "as a test wants it"}
        answer_request(context.engine, context.registry, context.run_key, **answer)


if __name__ == "__main__":
    run(json.loads(sys.argv[1]))
