"""Tell OpenLineage which data a task of the platform read and wrote.

`AIRFLOW__OPENLINEAGE__EXTRACTORS=otaku_lineage.JobExtractor` makes the provider ask it; tasks of other DAGs are left to
the provider.
"""

import sys
from typing import Any

from airflow.providers.openlineage.extractors import OperatorLineage
from airflow.providers.openlineage.extractors.base import BaseExtractor
from openlineage.client.event_v2 import Dataset


class JobExtractor(BaseExtractor):
    """Read what `dags/otaku_references.py` kept in the process of the task."""

    @classmethod
    def get_operator_classnames(cls) -> list[str]:
        """Name the operators of the DAGs."""
        return ["_PythonDecoratedOperator", "_BranchPythonDecoratedOperator"]

    def _execute_extraction(self) -> OperatorLineage[Any, Any] | None:
        """Nothing is known before the job has run."""
        return None

    def extract_on_complete(self, _task_instance: Any) -> OperatorLineage[Any, Any] | None:
        """Return inputs and outputs of the task that has ended in this process."""
        kept = getattr(sys.modules.get("otaku_references"), "OF_THIS_TASK", None)
        if not kept:
            return None
        named = {role: [Dataset(namespace, name) for namespace, name in kept[role]] for role in kept}
        return OperatorLineage(inputs=named["inputs"], outputs=named["outputs"])
