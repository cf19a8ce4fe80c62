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
    """A button of the task, once the task has ended: what it made, else what `gate` or `measure` before it made."""

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Read the address from the XCom; "" where there is no such thing, and the button stays away."""
        # Declared as a key, but the task that ends passes its own instance.
        instance: Any = ti_key
        for task_id in dict.fromkeys((operator.task_id, "gate", "measure")):
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
