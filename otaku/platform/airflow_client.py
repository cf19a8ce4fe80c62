"""Client of the Airflow REST API: backfill days, wait for runs, read and clear tasks.

The generated apache-airflow-client 3.3.1 fits this Airflow and pulls in nothing new, but it has no call for the login
(`/auth/token`) and builds over 200 Pydantic models on import, which takes six times as long as importing httpx.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from types import TracebackType
from typing import Any, Self

import httpx

from recsys.exceptions import ConfigurationError, ServiceUnavailableError

FINISHED = frozenset({"success", "failed"})
_POLL_SECONDS = 1.0
_PAGE = 100
_LOGIN_SECONDS = 180.0


class AirflowClient:
    """One logged-in user of one Airflow; days are those on which the data interval of a run ends.

    Parameters
    ----------
    url
        Base URL of the web interface.
    username, password
        Credentials of the user.
    """

    def __init__(self, url: str, username: str, password: str) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(base_url=f"{self.url}/api/v2", timeout=60)
        self._login = {"username": username, "password": password}

    def __enter__(self) -> Self:
        """Log in, with retries while Airflow starts.

        Raises
        ------
        ConfigurationError
            It refused the login.
        ServiceUnavailableError
            It does not answer.
        """

        def refused() -> str:
            answer = self._http.post(f"{self.url}/auth/token", json=self._login)
            if answer.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
                raise ConfigurationError(
                    f"{self.url} refused the login of {self._login['username']!r}; check the password"
                )
            self._http.headers["Authorization"] = f"Bearer {_content(answer)['access_token']}"
            return ""

        _wait(refused, _LOGIN_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self._http.close()

    def wait_for_dags(self, dag_ids: Iterable[str], *, timeout: float = 120.0) -> None:
        """Wait until the DAG processor has found these DAGs.

        Raises
        ------
        ServiceUnavailableError
            Some are not there in time.
        """
        wanted = set(dag_ids)

        def missing() -> str:
            found = {dag["dag_id"] for dag in self._get("/dags")["dags"]}
            return ", ".join(sorted(wanted - found))

        _wait(missing, timeout)

    def backfill(
        self, dag_id: str, first: date, last: date, *, period: timedelta = timedelta(days=1), again: bool = False
    ) -> int:
        """Ask for the runs of all days from `first` to `last`, the latest first; return the id of the backfill.

        Parameters
        ----------
        period
            Length of the data interval of the DAG.
        again
            True also reruns days that succeeded; False only those that failed.
        """
        body = {
            "dag_id": dag_id,
            "from_date": _midnight(first - period),
            "to_date": _midnight(last - period + timedelta(days=1)),
            "run_backwards": True,
            "reprocess_behavior": "completed" if again else "failed",
        }
        return int(_content(self._http.post("/backfills", json=body))["id"])

    def wait_for_backfill(self, backfill: int, *, timeout: float, on_poll: Callable[[], None] = lambda: None) -> None:
        """Wait until every run of a backfill has ended in any state.

        Parameters
        ----------
        on_poll
            Called about once a second.

        Raises
        ------
        ServiceUnavailableError
            It has not ended in time.
        """

        def unfinished() -> str:
            on_poll()
            return "" if self._get(f"/backfills/{backfill}")["completed_at"] else f"backfill {backfill}"

        _wait(unfinished, timeout)

    def read_runs(self, dag_id: str) -> dict[date, dict[str, Any]]:
        """Read the runs of a DAG that have a data interval by their day."""
        runs = [run for run in self.list_runs(dag_id) if run["data_interval_end"]]
        return {datetime.fromisoformat(run["data_interval_end"]).astimezone(UTC).date(): run for run in runs}

    def list_runs(self, dag_id: str) -> list[dict[str, Any]]:
        """List all runs of a DAG, those too that an asset or a user triggered, oldest first."""
        runs: list[dict[str, Any]] = []
        while True:
            page = self._get(f"/dags/{dag_id}/dagRuns", limit=_PAGE, offset=len(runs), order_by="run_after")
            runs += page["dag_runs"]
            if len(page["dag_runs"]) < _PAGE:
                return runs

    def read_tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """Read the task instances of a run by their task."""
        found = self._get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
        return {task["task_id"]: task for task in found}

    def read_log(self, dag_id: str, run_id: str, task_id: str, *, attempt: int = 1) -> list[str]:
        """Read the log of one attempt of a task, one line per event, with its reason if given."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{attempt}"
        entries = self._get(path, full_content="true")["content"]
        return [_format_event(entry) if isinstance(entry, dict) else str(entry) for entry in entries]

    def trigger(self, dag_id: str, **params: Any) -> str:
        """Trigger a run without a logical date and return its id."""
        body = {"logical_date": None, "conf": params}
        return str(_content(self._http.post(f"/dags/{dag_id}/dagRuns", json=body))["dag_run_id"])

    def has_pool(self, name: str) -> bool:
        """Whether there is a pool of this name."""
        answer = self._http.get(f"/pools/{name}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return False
        return bool(_content(answer))

    def create_pool(self, name: str, slots: int, description: str) -> None:
        """Create a pool; tasks in it take a slot each."""
        body = {"name": name, "slots": slots, "description": description, "include_deferred": False}
        _content(self._http.post("/pools", json=body))

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Clear one task of a run, so that it runs again with all that follow from it."""
        body = {"dry_run": False, "dag_run_id": run_id, "task_ids": [task_id], "only_failed": False}
        _content(self._http.post(f"/dags/{dag_id}/clearTaskInstances", json={**body, "include_downstream": True}))

    def wait_for_run(self, dag_id: str, day: date, *, timeout: float) -> str:
        """Wait until the run of a day has ended; return its state.

        Raises
        ------
        ServiceUnavailableError
            It has not ended in time.
        """

        def unfinished() -> str:
            state = self.read_runs(dag_id).get(day, {}).get("state", "not there")
            return "" if state in FINISHED else f"{dag_id} of {day} ({state})"

        _wait(unfinished, timeout)
        return str(self.read_runs(dag_id)[day]["state"])

    def _get(self, path: str, **parameters: str | int) -> dict[str, Any]:
        return _content(self._http.get(path, params=parameters))


def _content(answer: httpx.Response) -> dict[str, Any]:
    if answer.is_error:
        raise ServiceUnavailableError(f"Airflow refused {answer.request.url.path}: {answer.status_code} {answer.text}")
    content: dict[str, Any] = answer.json()
    return content


def _format_event(entry: Mapping[str, Any]) -> str:
    reason = f" {entry['reason']}" if entry.get("reason") else ""
    return f"{entry['event']}{reason}"


def _midnight(day: date) -> str:
    return datetime.combine(day, clock_time(), UTC).isoformat()


def _wait(missing: Callable[[], str], timeout: float) -> None:
    """Poll until nothing is missing; transport errors are retried too."""
    deadline = time.monotonic() + timeout
    left = "an answer"
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError, ServiceUnavailableError):
            if not (left := missing()):
                return
        time.sleep(_POLL_SECONDS)
    raise ServiceUnavailableError(f"Airflow did not come to an end within {timeout:.0f} s: waiting for {left}")
