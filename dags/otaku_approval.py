"""A person's last word about a promotion: a required action that waits without a worker slot."""

import copy
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLBranchOperator
from airflow.sdk import Context, Param

from otaku_notify import ApprovalNotifier

# Without an answer until then the champion stays.
RESPONSE_TIMEOUT = timedelta(days=2)
NO_ANSWER = f"nobody answered within {RESPONSE_TIMEOUT.days} days"
PROMOTE, KEEP = "Promote", "Keep the champion"
MIN_REASON, REASON = 3, "why; kept in the ledger"


class ApprovalBranchOperator(HITLBranchOperator):
    """Ask whether to promote or keep, with a reason, and leave who answered to the task that follows."""

    @property
    def serialized_params(self) -> dict[str, dict[str, Any]]:
        """What the form is made of: there the reason must be given, while the task starts without one.

        It begins empty; of a param whose value is null Airflow's form shows "[object Object]" as if it were given.
        """
        shown = copy.deepcopy(super().serialized_params)
        shown["reason"]["schema"]["type"], shown["reason"]["value"] = "string", ""
        return shown

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Keep responder and reason as the XCom `answer`, and branch."""
        if "error" not in event:
            if not event.get("responded_by_user"):
                # The form was never filled in: its empty reason is not to be checked.
                event = {**event, "params_input": {}}
            user = event.get("responded_by_user") or {}
            reason = (event["params_input"] or {}).get("reason") or ("" if user else NO_ANSWER)
            if len(reason.strip()) < MIN_REASON:
                raise ValueError(f"an answer needs a reason of {MIN_REASON} letters or more; it is asked for again")
            answer = {"responder": user.get("name") or user.get("id"), "reason": str(reason)}
            context["ti"].xcom_push(key="answer", value=answer)
        return super().execute_complete(context, event)


def build_approval(task_id: str) -> ApprovalBranchOperator:
    """Build the task that asks; subject and body are XComs of the task `gate`."""
    return ApprovalBranchOperator(
        task_id=task_id,
        subject="{{ ti.xcom_pull(task_ids='gate', key='subject') }}",
        body="{{ ti.xcom_pull(task_ids='gate', key='body') }}",
        options=[PROMOTE, KEEP],
        options_mapping={PROMOTE: "promote", KEEP: "keep"},
        defaults=KEEP,
        # A task is started with its params: a reason that must be there would fail it before anybody could give one.
        params={"reason": Param(None, type=["null", "string"], minLength=MIN_REASON, description=REASON)},
        response_timeout=RESPONSE_TIMEOUT,
        notifiers=[ApprovalNotifier()],
        doc_md="Wait for a person to promote or keep; without an answer the champion stays.",
    )
