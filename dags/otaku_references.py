"""Links of a task to what it made, and the data that it read and wrote."""

from collections.abc import Collection, Mapping
from typing import Any

from airflow.sdk import BaseOperator, BaseOperatorLink, Context
from airflow.sdk.types import TaskInstanceKey

LINKS = "links"
# What the task of this process read and wrote; the extractor of OpenLineage in `plugins/otaku_lineage.py` reads it.
OF_THIS_TASK: dict[str, list[list[str]]] = {}


def keep_references(context: Context, found: Mapping[str, Any]) -> None:
    """Keep the links as an XCom, and inputs and outputs for the lineage.

    Parameters
    ----------
    found
        `links`, `inputs` and `outputs`, as the jobs of the platform return them.
    """
    context["ti"].xcom_push(key=LINKS, value=found["links"])
    OF_THIS_TASK.update({name: found[name] for name in ("inputs", "outputs")})


class _Link(BaseOperatorLink):
    """A button of the task, once the task has ended; `task_ids` of the link of another task where it has none."""

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Read the address from the XCom; none where the task has not made such a thing."""
        instance: Any = ti_key
        for task_id in (operator.task_id, "gate", "measure"):
            links = instance.xcom_pull(task_ids=task_id, key=LINKS) or {}
            if self.name in links:
                return str(links[self.name])
        return ""


class RunLink(_Link):
    """The run in MLflow."""

    name = "MLflow run"


class VersionLink(_Link):
    """The model version in MLflow."""

    name = "Model version"


class SnapshotLink(_Link):
    """The manifest of the snapshot that was trained on."""

    name = "Snapshot"


class DriftLink(_Link):
    """The drift report."""

    name = "Drift report"


RETRAINING_LINKS = (RunLink(), VersionLink(), SnapshotLink())
DRIFT_LINKS = (DriftLink(), VersionLink())


def add_links(operators: Collection[BaseOperator], links: Collection[BaseOperatorLink]) -> None:
    """Give all operators the same buttons."""
    for operator in operators:
        operator.operator_extra_links = links
