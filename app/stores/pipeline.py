"""What the tables say about jobs and data, read for scrapes, but not more often than it changes."""

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from app.metrics import PipelineMetrics
from app.stores.database import Database
from recsys.exceptions import ServiceUnavailableError
from recsys.storage.job_runs import read_pipeline_state

logger = logging.getLogger(__name__)
FRESH_SECONDS: Final = 15.0


class PipelineReader:
    """Keeps the metrics of the pipeline as fresh as `FRESH_SECONDS`, however many scrape.

    Parameters
    ----------
    metrics
        Told the state, or that there is none while the database does not answer.
    model_name
        The registered model whose decisions count.
    clock
        Monotonic seconds.
    """

    def __init__(self, metrics: PipelineMetrics, model_name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.metrics = metrics
        self._model_name = model_name
        self._clock = clock
        self._read_at = -FRESH_SECONDS
        self._lock = asyncio.Lock()

    async def refresh(self, database: Database) -> None:
        """Read the state again unless it is fresh."""
        async with self._lock:
            if self._clock() - self._read_at < FRESH_SECONDS:
                return
            try:
                self.metrics.state = await database.read(partial(read_pipeline_state, model_name=self._model_name))
            except (ServiceUnavailableError, SQLAlchemyError) as error:
                self.metrics.state = None
                logger.warning("the state of the pipeline is not told: %s", error)
            self._read_at = self._clock()
