"""Runs of the experiment: exactly one per run key, recorded so that a repetition changes nothing."""

import io
import json
import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mlflow.entities import Dataset, DatasetInput, Metric, Param, RunTag

from recsys.storage.registry.connection import MODEL_TAG, RUN_KEY_TAG, MlflowConnection

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# MLflow takes at most this many parameters or tags in one call, and digests of at most so many characters.
_BATCH = 100
DIGEST_LENGTH = 36
# Longer than all steps of a retraining together may take.
_LONGEST_SECONDS = 86_400


class RunTracking(MlflowConnection):
    """The part of the registry that knows runs."""

    def start_run(self, run_key: str, *, tags: Mapping[str, str] | None = None) -> str:
        """Find or create the one run of a run key, mark it as running and return its id.

        Two processes that start the same key at the same instant could make two runs; a retraining therefore holds
        an advisory lock. Should it happen nevertheless, both go on with the older one from the next call on.
        """
        with self._translate_errors():
            run_id = self._find_run(run_key)
            if run_id is not None:
                self._client.update_run(run_id, status="RUNNING")
                return run_id
            self._end_killed_runs()
            own = {RUN_KEY_TAG: run_key, MODEL_TAG: self.model_name, **(tags or {})}
            run = self._client.create_run(self._experiment_id(), tags=own, run_name=run_key)
            return str(run.info.run_id)

    def _end_killed_runs(self) -> None:
        """Mark runs as killed that began over a day ago and never ended: what SIGKILL ends says nothing itself."""
        longest_ago = int((time.time() - _LONGEST_SECONDS) * 1000)
        query = (
            f"attributes.status = 'RUNNING' AND attributes.start_time < {longest_ago} "
            f"AND tags.`{MODEL_TAG}` = '{self.model_name}'"
        )
        for run in self._client.search_runs([self._experiment_id()], query):
            self._client.set_terminated(run.info.run_id, "KILLED")

    def finish_run(self, run_id: str, *, failed: bool = False) -> None:
        """Mark a run as finished or failed."""
        with self._translate_errors():
            self._client.set_terminated(run_id, "FAILED" if failed else "FINISHED")

    def fail_run(self, run_key: str) -> None:
        """Mark the run of a key as failed if it was started and has not ended."""
        with self._translate_errors():
            run_id = self._find_run(run_key)
            if run_id is not None and self._client.get_run(run_id).info.status == "RUNNING":
                self._client.set_terminated(run_id, "FAILED")

    def log(
        self,
        run_id: str,
        *,
        params: Mapping[str, object] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        figures: Mapping[str, "Figure"] | None = None,
        artifacts: Mapping[str, bytes] | None = None,
        curves: Mapping[str, Sequence[float]] | None = None,
        dataset: tuple[str, str, str] | None = None,
    ) -> None:
        """Record what a run did; the same again changes nothing.

        Parameters
        ----------
        metrics
            Finite numbers; others are left out, because MLflow stores no gaps.
        figures, artifacts
            By name below the run's artefacts, such as `gate/differences.png`.
        curves
            By name the finite values of a metric, one for each step from 1 on; one that has values stays.
        dataset
            Name, digest and URI of the snapshot that the run learned from.
        """
        with self._translate_errors():
            run = self._client.get_run(run_id)
            shown = run.data.metrics
            finite = {key: float(value) for key, value in (metrics or {}).items() if math.isfinite(value)}
            # Of values of one step MLflow shows the largest, not the last: another value gets a step of its own.
            numbers = [
                Metric(key, value, run.info.start_time, self._next_step(run_id, key) if key in shown else 0)
                for key, value in finite.items()
                if shown.get(key) != value
            ]
            numbers += [
                Metric(key, float(value), run.info.start_time, step)
                for key, steps in (curves or {}).items()
                if key not in shown
                for step, value in enumerate(steps, start=1)
            ]
            values = [Param(key, str(value)) for key, value in (params or {}).items()]
            labels = [RunTag(key, str(value)) for key, value in (tags or {}).items()]
            for start in range(0, max(len(numbers), len(values), len(labels)), _BATCH):
                part = slice(start, start + _BATCH)
                self._client.log_batch(run_id, metrics=numbers[part], params=values[part], tags=labels[part])
            if dataset is not None:
                name, digest, uri = dataset
                source = json.dumps({"uri": uri, "sha256": digest})
                entry = Dataset(name=name, digest=digest[:DIGEST_LENGTH], source_type="s3", source=source)
                self._client.log_inputs(run_id, [DatasetInput(entry)])
        store, prefix = self._place(run.info.artifact_uri)
        drawn = {name: _draw(figure) for name, figure in (figures or {}).items()}
        for name, content in {**drawn, **(artifacts or {})}.items():
            store.write_bytes(f"{prefix}/{name}", content)

    def run_url(self, run_id: str) -> str:
        """Return the address of a run in MLflow's interface."""
        with self._translate_errors():
            return f"{self.tracking_uri}/#/experiments/{self._experiment_id()}/runs/{run_id}"

    def read_metrics(self, run_id: str) -> dict[str, float]:
        """Read the metrics of a run as MLflow shows them."""
        with self._translate_errors():
            return dict(self._client.get_run(run_id).data.metrics)

    def read_artifact(self, run_id: str, name: str) -> bytes:
        """Read back what `log` stored under a name."""
        with self._translate_errors():
            uri = self._client.get_run(run_id).info.artifact_uri
        store, prefix = self._place(uri)
        return store.read_bytes(f"{prefix}/{name}")

    def _next_step(self, run_id: str, key: str) -> int:
        return 1 + max(int(found.step) for found in self._client.get_metric_history(run_id, key))

    def _find_run(self, run_key: str) -> str | None:
        query = f"tags.`{RUN_KEY_TAG}` = '{run_key}' AND tags.`{MODEL_TAG}` = '{self.model_name}'"
        order = ["attributes.start_time ASC"]
        runs = self._client.search_runs([self._experiment_id()], query, order_by=order, max_results=1)
        return str(runs[0].info.run_id) if runs else None


def _draw(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
