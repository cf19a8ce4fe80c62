"""Canary and shadow traffic for the version under the alias `challenger`.

Canary: a fixed share of users, chosen by a hash of the id so that a user always gets the same model, is served by the
challenger until it is promoted or its alias is removed. Shadow: a share of requests is served by Production and scored
by the challenger in the background; its list is compared and discarded.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import numpy as np
import pandas as pd

from app.metrics import ServiceMetrics
from app.models.authority import ModelSource
from app.models.local_cache import LocalModelCache
from app.models.production import Clock, Retries
from app.models.serving import ServingModel, load_model
from app.models.trial import Trial
from recsys.exceptions import RecsysError
from recsys.types import Ids

logger = logging.getLogger(__name__)
ALIAS = "challenger"
_COMPARED = 10
_MAX_WAITING = 16

Compute = Callable[[ServingModel], Ids]


class Challenger:
    """The challenger's model, loaded and verified like the one in Production, and its traffic.

    A context manager: requests are shadowed between entry and exit.

    Parameters
    ----------
    canary_share, shadow_share
        Shares 0..1 of users and of requests.
    model
        A challenger that is loaded already.
    """

    def __init__(
        self,
        source: ModelSource,
        name: str,
        metrics: ServiceMetrics,
        *,
        canary_share: float = 0.0,
        shadow_share: float = 0.0,
        trial: Trial | None = None,
        model: ServingModel | None = None,
    ) -> None:
        self._source = source
        self._name = name
        self._metrics = metrics
        self._canary_share = canary_share
        self._shadow_share = shadow_share
        self._trial = trial
        self._model = model
        self._retries = Retries()
        self._thread: ThreadPoolExecutor | None = None
        self._waiting = threading.Semaphore(_MAX_WAITING)

    def __enter__(self) -> Self:
        """Start the shadow thread."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="shadow")
        return self

    def __exit__(self, *_: object) -> None:
        """Drop pending comparisons."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
        self._thread = None

    @property
    def is_wanted(self) -> bool:
        """Whether any traffic goes to a challenger."""
        return self._canary_share > 0 or self._shadow_share > 0

    @property
    def model(self) -> ServingModel | None:
        """The challenger, if there is one and it passed its checks."""
        return self._model

    def refresh(self, production: int | None, clock: Clock = time.monotonic) -> None:
        """Poll the alias; the version in Production is no challenger."""
        if not self.is_wanted:
            return
        try:
            target = self._source.alias_version(ALIAS)
        except RecsysError:  # logged by the watcher of Production; the challenger stays
            return
        if target is None or target == production:
            if self._model is not None:
                logger.info("version %d of %s is no longer the challenger", self._model.version, self._name)
            self._model = None
        elif (self._model is None or self._model.version != target) and self._retries.may_try(target, clock()):
            self._load(target, clock)

    def _load(self, target: int, clock: Clock) -> None:
        self._model = None  # the alias has left the old challenger, whether or not the new one loads
        try:
            run_id = self._source.read_version(target).run_id
            with LocalModelCache(None).download_dir() as place:
                folder = self._source.download(target, place)
                if self._trial is not None:
                    self._trial.run(folder, yields=True)
                self._model = load_model(folder, name=self._name, version=target, run_id=run_id)
        except Exception:
            self._retries.note_failure(target, clock())
            self._metrics.count_refusal()
            logger.exception("challenger %d of %s is refused", target, self._name)
        else:
            self._retries.clear()
            logger.info("version %d of %s is the challenger now", target, self._name)

    def choose(self, production: ServingModel, user_id: int | None) -> ServingModel:
        """Choose the model of a user, stable while challenger and share stay."""
        model = self._model
        if model is None or user_id is None or model.version == production.version:
            return production
        return model if hash_to_unit_interval(user_id) < self._canary_share else production

    def shadow(self, request_id: str, expected: Ids, compute: Compute) -> bool:
        """Compare the challenger's list with the served one in the background; return whether it was queued.

        Parameters
        ----------
        expected
            Item ids of the response, best first.
        compute
            Computes the item ids with another model; may raise.
        """
        model = self._model
        if model is None or self._thread is None or hash_to_unit_interval(request_id) >= self._shadow_share:
            return False
        if not self._waiting.acquire(blocking=False):
            self._metrics.count_shadow("skipped")
            return False
        self._thread.submit(self._compare, model, expected, compute)
        return True

    def _compare(self, model: ServingModel, expected: Ids, compute: Compute) -> None:
        started = time.perf_counter()
        try:
            found = compute(model)
        except Exception:
            self._metrics.count_shadow("failed")
            logger.warning("challenger %d fails where Production does not", model.version, exc_info=True)
        else:
            seconds = time.perf_counter() - started
            self._metrics.count_shadow("compared")
            overlap = compute_overlap(expected[:_COMPARED], found[:_COMPARED])
            self._metrics.observe_shadow(overlap, compute_rank_correlation(expected, found), seconds)
        finally:
            self._waiting.release()


def hash_to_unit_interval(name: int | str) -> float:
    """Map a user or request id to [0, 1), uniformly and stably."""
    return int.from_bytes(hashlib.sha256(f"canary:{name}".encode()).digest()[:8], "big") / 2**64


def compute_overlap(one: Ids, other: Ids) -> float:
    """Compute the share of the longer list that both hold, 0..1; two empty lists are equal."""
    return len(np.intersect1d(one, other)) / max(len(one), len(other), 1) if len(one) or len(other) else 1.0


def compute_rank_correlation(one: Ids, other: Ids) -> float:
    """Compute Spearman's correlation -1..1 over all titles of either list; a missing title ranks behind the last.

    An empty list ranks nothing: 1 with another empty one, -1 with any other.
    """
    if not len(one) or not len(other):
        return 1.0 if len(one) == len(other) else -1.0
    titles = np.union1d(one, other)
    ranks = []
    for ids in (one, other):
        place = {int(item_id): rank for rank, item_id in enumerate(ids.tolist())}
        ranks.append([place.get(int(item_id), len(ids)) for item_id in titles])
    if len(titles) < 2:
        return 1.0 if np.array_equal(one, other) else -1.0
    ours, theirs = (pd.Series(places).rank() for places in ranks)
    return float(ours.corr(theirs))
