"""Metrics of all worker processes of an instance: whichever is scraped asks the others over Unix sockets.

Each series carries the label `worker`, so that one that ends and is replaced resets its own counters alone. Metrics are
handed over in the text format and put together with the parser of prometheus_client, whose own way for several
processes, values in mapped files, knows no `Info` and no gauge that is computed when it is read
(https://prometheus.github.io/client_python/multiprocess/).
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from app.metrics.service_metrics import ServiceMetrics

logger = logging.getLogger(__name__)
SECONDS: Final = 1.0
_SUFFIX: Final = ".sock"
_LABEL: Final = "worker"


class Peers:
    """The workers of one instance; an async context manager, which answers the others between entry and exit.

    Parameters
    ----------
    directory
        Where each worker has its socket; nobody else may enter it.
    number
        Of this worker.
    """

    def __init__(self, directory: Path, number: int, metrics: ServiceMetrics) -> None:
        self._directory = directory
        self._number = number
        self._metrics = metrics
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        """Answer on the socket of this worker, which its predecessor may have left behind."""
        path = self._directory / f"{self._number}{_SUFFIX}"
        path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._answer, path)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Answer no more; the socket may be the successor's already."""
        if self._server is not None:
            self._server.close()

    async def _answer(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(await asyncio.to_thread(self._metrics.render))
            await writer.drain()
        finally:
            writer.close()

    async def render(self) -> bytes:
        """Return the text format with the series of every worker that answers in time."""
        paths = sorted(self._directory.glob(f"*{_SUFFIX}"))
        found = await asyncio.gather(*(self._ask(path) for path in paths))
        return join_texts({path.stem: text for path, text in zip(paths, found, strict=True) if text})

    async def _ask(self, path: Path) -> str:
        try:
            async with asyncio.timeout(SECONDS):
                reader, writer = await asyncio.open_unix_connection(path)
                try:
                    return (await reader.read()).decode()
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            logger.warning("worker %s does not tell its metrics: %s", path.stem, error or "it took too long")
            return ""


def join_texts(texts: Mapping[str, str]) -> bytes:
    """Put texts of several workers together, each series with the label `worker`.

    Parameters
    ----------
    texts
        Name of a worker to its metrics in the text format.
    """
    families: dict[str, Metric] = {}
    for worker, text in texts.items():
        for family in text_string_to_metric_families(text):
            joined = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            joined.samples += [sample._replace(labels={**sample.labels, _LABEL: worker}) for sample in family.samples]
    registry = CollectorRegistry()
    registry.register(_Families(families))
    return generate_latest(registry)


class _Families(Collector):
    def __init__(self, families: Mapping[str, Metric]) -> None:
        self._families = families

    def describe(self) -> Iterator[Metric]:
        """Name nothing beforehand."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Return the families."""
        return iter(self._families.values())
