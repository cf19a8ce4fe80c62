"""The model in Production: polls the registry and swaps to a new version without downtime."""

import logging
import threading
import time
from collections.abc import Callable

from app.metrics import ServiceMetrics
from app.models.attempts import MAX_ATTEMPTS
from app.models.authority import Authority, Ledger, ModelSource, RegisteredVersion
from app.models.holder import ModelHolder, Then
from app.models.local_cache import LocalModelCache
from app.models.serving import ServingModel, load_model
from app.models.trial import Trial
from recsys.exceptions import RecsysError, ServiceUnavailableError
from recsys.memory import trim_memory

logger = logging.getLogger(__name__)
FIRST_RETRY_SECONDS = 2.0
LAST_RETRY_SECONDS = 60.0

Clock = Callable[[], float]


class Retries:
    """Exponential backoff per version; another version is tried at once."""

    def __init__(self) -> None:
        self._version: int | None = None
        self._at = 0.0
        self._wait = FIRST_RETRY_SECONDS

    def may_try(self, version: int, now: float) -> bool:
        """Return whether a version may be tried now."""
        return version != self._version or now >= self._at

    def note_failure(self, version: int, now: float) -> None:
        """Double the wait, up to a minute."""
        self._wait = min(self._wait * 2, LAST_RETRY_SECONDS) if version == self._version else FIRST_RETRY_SECONDS
        self._version, self._at = version, now + self._wait

    def has_failed(self, version: int) -> bool:
        """Return whether a version has failed since the last success."""
        return version == self._version

    def clear(self) -> None:
        """Reset after a success."""
        self._version = None


class ProductionModel(ModelHolder):
    """The served model, replaced as the registry says.

    A version that cannot be loaded, differs from its recorded responses or fails the sanity check is refused, and the
    current one stays. The previous version stays in memory, so that a rollback takes one poll of the registry.
    `prepare` is called with each before it serves.
    """

    def __init__(
        self,
        source: ModelSource,
        name: str,
        metrics: ServiceMetrics,
        cache: LocalModelCache | None = None,
        prepare: Callable[[ServingModel], object] = lambda _model: None,
        *,
        ledger: Ledger | None = None,
        trial: Trial | None = None,
    ) -> None:
        super().__init__()
        self._source = source
        self._name = name
        self._metrics = metrics
        self._cache = cache or LocalModelCache(None)
        self._prepare = prepare
        self._authority = Authority(source, ledger)
        self._trial = trial
        self._may_recall = True
        self._retries = Retries()
        self._problems: dict[str, str] = {}

    @property
    def problems(self) -> list[str]:
        """Why the service does not follow the registry; empty if it does."""
        return [*self._problems.values(), *self._authority.problems]

    def refresh(self, clock: Clock = time.monotonic) -> bool:
        """Poll the alias and swap if it has moved; return whether a swap took place."""
        try:
            alias = self._source.production_version()
        except RecsysError as error:
            self._metrics.count_refresh(succeeded=False)
            self._problems["registry"] = "the registry does not answer"
            logger.warning("the registry does not answer, the model stays: %s", error)
            return self._recall()
        self._metrics.count_refresh(succeeded=True)
        self._problems.pop("registry", None)
        target = self._authority.decide(alias)
        if target is None:
            return self._serve_without_alias() if alias is None else self._recall()
        if self._current is not None and self._current.version == target:
            self._problems.pop("version", None)
            return False
        return self._retries.may_try(target, clock()) and self._swap(target, clock)

    def _serve_without_alias(self) -> bool:
        """Go on, if need be from disk, with a version that the registry has lost; no problem before the first one."""
        recalled = self._recall()
        if self._current is not None:
            self._problems["version"] = "the registry has no version in Production"
            logger.warning("the registry has no version in Production; %d stays", self._current.version)
        return recalled

    def _swap(self, target: int, clock: Clock) -> bool:
        if self._previous is not None and self._previous.version == target:
            self._take(self._previous)
            self._keep(lambda: self._cache.mark_last_good(target), target)
            return True
        try:
            found = self._authority.read_version(target)
            if self._has_ended_others(target, found.digest, clock()):
                return self._recall()
            model = self._load(target, found)
        # Whatever a broken file makes a parser raise, the current model keeps serving.
        except Exception as error:  # noqa: BLE001 - it is logged with its trace
            self._retries.note_failure(target, clock())
            self._refuse(target, error)
            return self._recall()
        self._take(model)
        return True

    def _refuse(self, target: int, error: Exception) -> None:
        if isinstance(error, ServiceUnavailableError):
            self._problems["version"] = f"version {target} cannot be fetched"
            logger.warning("version %d of %s cannot be fetched: %s", target, self._name, error)
            return
        self._problems["version"] = f"version {target} is refused"
        self._metrics.count_refusal()
        logger.error("version %d of %s is refused: %s", target, self._name, error, exc_info=error)

    def _has_ended_others(self, target: int, digest: str, now: float) -> bool:
        """Whether to leave a version alone, for now or for good: a process ended while it loaded these bytes."""
        n_ended = self._cache.attempts.count_ended(target, digest)
        if n_ended < MAX_ATTEMPTS and (not n_ended or self._retries.has_failed(target)):
            return False
        self._retries.note_failure(target, now)
        self._problems["version"] = f"version {target} is refused"
        ends = "is not tried again; promote another one" if n_ended >= MAX_ATTEMPTS else "is tried again later"
        logger.error("the service ended %d times while version %d was loaded, which %s", n_ended, target, ends)
        return True

    def _load(self, target: int, found: RegisteredVersion) -> ServingModel:
        self._cache.attempts.begin(target, found.digest)
        try:
            with self._cache.download_dir() as place:
                folder = self._source.download(target, place)
                if self._trial is not None and not self._cache.is_last_good(folder):
                    self._trial.run(folder, yields=self._current is not None)
                model = load_model(folder, name=self._name, version=target, run_id=found.run_id)
                self._keep(lambda: self._cache.record_last_good(target, found.run_id, folder), target)
        finally:
            self._cache.attempts.end()
        return model

    def close(self) -> None:
        """Forget an attempt that the end of the service interrupts, so that it does not count against the version."""
        self._cache.attempts.end()

    def _keep(self, note: Callable[[], None], target: int) -> None:
        """Record in the cache what serves; a full disk does not refuse a model."""
        try:
            note()
        except OSError as error:
            logger.warning("version %d of %s is not cached on disk: %s", target, self._name, error)

    def _recall(self) -> bool:
        """Serve the last good version from disk if no model is loaded; return whether that worked."""
        if self._current is not None or not self._may_recall:
            return False
        self._may_recall = False  # one attempt: the files do not change
        try:
            found = self._cache.load_last_good()
            if found is None:
                return False
            note, folder = found
            model = load_model(folder, name=self._name, version=note.version, run_id=note.run_id)
        except Exception:
            logger.exception("the last good version of %s cannot be used", self._name)
            return False
        logger.warning("version %d of %s is served from the local cache", note.version, self._name)
        self._take(model, keep_problems=True)
        return True

    def _take(self, model: ServingModel, *, keep_problems: bool = False) -> None:
        if not keep_problems:
            self._problems.pop("version", None)
            self._retries.clear()
        self._prepare(model)
        self._previous, self._current = self._current, model
        trim_memory()  # of the version before the previous one
        self._metrics.count_swap(model.name, model.version, model.run_id)
        logger.info("version %d of %s serves now", model.version, model.name)

    def watch(self, stop: threading.Event, seconds: float, then: Then | None = None) -> None:
        """Refresh until `stop` is set, calling `then` with the served version each time."""
        while not stop.is_set():
            try:
                self.refresh()
                if then is not None:
                    then(self._current.version if self._current else None)
            except Exception:  # the watcher must survive
                logger.exception("polling the registry failed; the next poll follows")
            stop.wait(seconds)
