"""Airflow, as far as `/ops` needs it: the next runs, and a retraining on request."""

import logging
import urllib.parse
from dataclasses import dataclass
from typing import Any, Final

from fastapi.concurrency import run_in_threadpool

from app.pages.ops.json_client import send_json
from recsys.exceptions import ServiceUnavailableError
from recsys.settings import Settings
from recsys.tracing import write_parent

logger = logging.getLogger(__name__)
RETRAIN: Final = "retrain_model"
TAG: Final = "otaku"


@dataclass(frozen=True)
class NextRun:
    """A DAG and when it runs next, in UTC; "" where no run is planned."""

    dag_id: str
    is_paused: bool
    at: str


@dataclass(frozen=True)
class Scheduler:
    """One Airflow and a user of it; without a password nothing is asked."""

    url: str | None
    user: str
    password: str | None

    @classmethod
    def build(cls, settings: Settings) -> "Scheduler":
        """Read where Airflow is."""
        password = settings.airflow_password.get_secret_value() if settings.airflow_password else None
        url = str(settings.airflow_url).rstrip("/") if settings.airflow_url else None
        return cls(url, settings.airflow_user, password)

    @property
    def is_set(self) -> bool:
        """Whether there is an Airflow to ask."""
        return self.url is not None and self.password is not None

    async def read_next_runs(self) -> list[NextRun]:
        """Read when the DAGs run next; nothing while Airflow is away."""
        if not self.is_set:
            return []
        try:
            found = await run_in_threadpool(lambda: self._call(f"/api/v2/dags?tags={TAG}"))
        except ServiceUnavailableError as error:
            logger.warning("%s", error)
            return []
        return [
            NextRun(dag["dag_id"], bool(dag["is_paused"]), str(dag.get("next_dagrun_run_after") or "")[:16])
            for dag in found["dags"]
        ]

    async def trigger_retraining(self, note: str) -> str:
        """Trigger `retrain_model`, as part of the trace of this request, and return the id of the run.

        Raises
        ------
        ServiceUnavailableError
            If Airflow is not set, does not answer or refuses.
        """
        if not self.is_set:
            raise ServiceUnavailableError("no Airflow is set")
        body: dict[str, Any] = {"logical_date": None, "conf": write_parent(), "note": note}
        run = await run_in_threadpool(lambda: self._call(f"/api/v2/dags/{RETRAIN}/dagRuns", body))
        return str(run["dag_run_id"])

    async def answer_approval(self, run_key: str, *, approve: bool, reason: str) -> None:
        """Answer the task that waits for the same approval, so that its run goes on at once.

        The ledger has the answer already: a run that cannot be told finds it there when its time to wait is over.
        """
        if not self.is_set:
            return
        try:
            await run_in_threadpool(self._answer, run_key, "Promote" if approve else "Keep the champion", reason)
        except (ServiceUnavailableError, KeyError) as error:
            logger.warning("the run that waits for approval of %s could not be told: %s", run_key, error)

    def _answer(self, run_key: str, option: str, reason: str) -> None:
        waiting = self._call(f"/api/v2/dags/{RETRAIN}/dagRuns/~/hitlDetails?response_received=false")
        for detail in waiting["hitl_details"]:
            if f"({run_key})" not in detail["subject"]:
                continue
            task = detail["task_instance"]
            run_id, task_id = (urllib.parse.quote(task[name], safe="") for name in ("dag_run_id", "task_id"))
            path = f"/api/v2/dags/{RETRAIN}/dagRuns/{run_id}/taskInstances/{task_id}/{task['map_index']}/hitlDetails"
            answer = {"chosen_options": [option], "params_input": {"reason": reason}}
            self._call(path, answer, method="PATCH")

    def _call(self, path: str, body: dict[str, Any] | None = None, *, method: str | None = None) -> dict[str, Any]:
        login = {"username": self.user, "password": self.password}
        token = send_json(f"{self.url}/auth/token", login)["access_token"]
        found: dict[str, Any] = send_json(
            f"{self.url}{path}", body, {"Authorization": f"Bearer {token}"}, method=method
        )
        return found
