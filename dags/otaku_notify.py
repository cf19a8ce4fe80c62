"""Tell what happened, through Airflow's own notifiers for mail, Slack and HTTP.

`OTAKU_NOTIFY` lists whom, separated by commas: `mailto:ADDRESS` by the connection `smtp_default`, `slack:CONNECTION`
for an incoming webhook of Slack, `webhook:CONNECTION` for a POST of JSON to an address of yours. Servers, passwords
and tokens are Airflow connections.
"""

import importlib
import logging
import os
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import BaseNotifier, Context

from otaku_assets import SKIP_REASON

log = logging.getLogger(__name__)

NOTIFY = "OTAKU_NOTIFY"
WEEK = timedelta(days=7)
_SUNDAY = 7

# Rendered by the notifiers with the values of the message, which are text and no templates themselves.
_VALUES = ("event", "subject", "text", "dag_id", "run_id")
_PAYLOAD = {name: f"{{{{ otaku_{name} }}}}" for name in _VALUES}
_HTML = "<pre style='white-space: pre-wrap'>{{ otaku_text | e }}</pre>"


def list_notifiers() -> list[tuple[str, dict[str, Any]]]:
    """List import path and arguments of a notifier for each entry of the setting.

    Raises
    ------
    ValueError
        Names an entry that begins otherwise.
    """
    return [_describe(entry) for word in os.environ.get(NOTIFY, "").split(",") if (entry := word.strip())]


def _describe(entry: str) -> tuple[str, dict[str, Any]]:
    kind, _, target = entry.partition(":")
    if kind == "mailto" and target:
        told = {"to": target, "subject": _PAYLOAD["subject"], "html_content": _HTML}
        return "airflow.providers.smtp.notifications.smtp.SmtpNotifier", told
    if kind == "slack" and target:
        told = {"slack_webhook_conn_id": target, "text": "*{{ otaku_subject }}*\n{{ otaku_text }}"}
        return "airflow.providers.slack.notifications.slack_webhook.SlackWebhookNotifier", told
    if kind == "webhook" and target:
        return "airflow.providers.http.notifications.HttpNotifier", {"http_conn_id": target, "json": _PAYLOAD}
    raise ValueError(f"{NOTIFY} holds {entry!r}; write mailto:ADDRESS, slack:CONNECTION or webhook:CONNECTION")


def notify(context: Context, event: str, subject: str, text: str) -> None:
    """Tell everybody; who cannot be told is logged, and what happened stays as it is."""
    instance = context["ti"]
    values = (event, subject, text, instance.dag_id, instance.run_id)
    message = {f"otaku_{name}": value for name, value in zip(_VALUES, values, strict=True)}
    try:
        notifiers = list_notifiers()
    except ValueError as error:
        log.error("nobody was told: %s", error)  # noqa: TRY400 - the sentence says all
        return
    for path, arguments in notifiers:
        try:
            module, _, name = path.rpartition(".")
            getattr(importlib.import_module(module), name)(**arguments)({**context, **message})
        except Exception:
            log.exception("%s could not be used for: %s", path, subject)


def notify_failure(context: Context) -> None:
    """Tell that a task has failed for good."""
    instance, error = context["ti"], context.get("exception")
    subject = f"{instance.dag_id}.{instance.task_id} failed"
    notify(context, "failure", subject, f"{type(error).__name__}: {error}\n{instance.log_url}")


def notify_quiet_week(context: Context) -> None:
    """Tell that the first task of a DAG was skipped in all runs of a week: on the day it is so, then every Sunday."""
    instance, start, end = context["ti"], context.get("data_interval_start"), context.get("data_interval_end")
    is_first = not context["task"].upstream_task_ids
    if start is None or end is None or context["dag_run"].run_type != "scheduled" or not is_first:
        return
    n_runs = max(1, WEEK // (end - start))
    moments: list[datetime] = [start - count * (end - start) for count in range(1, n_runs + 1)]
    found: Mapping[str, Mapping[str, str | None]] = instance.get_task_states(
        dag_id=instance.dag_id, task_ids=[instance.task_id], logical_dates=moments
    )
    # The run ids of a schedule end with their moment: the newest first.
    runs = sorted(found, key=lambda run_id: run_id.split("__")[-1], reverse=True)
    skipped = [found[run_id].get(instance.task_id) == "skipped" for run_id in runs]
    began_now = len(skipped) < n_runs or not skipped[-1]
    if len(skipped) >= n_runs - 1 and all(skipped[: n_runs - 1]) and (began_now or end.isoweekday() == _SUNDAY):
        reason = instance.xcom_pull(task_ids=instance.task_id, key=SKIP_REASON)
        subject = f"{instance.dag_id} has had nothing to do for a week"
        notify(context, "quiet", subject, f"{reason}\n{instance.log_url}")


class ApprovalNotifier(BaseNotifier):
    """Tell that a promotion waits for a person, with the place to answer it."""

    def notify(self, context: Context) -> None:
        """Tell everybody."""
        from airflow.providers.standard.operators.hitl import HITLOperator

        subject = str(context["ti"].xcom_pull(task_ids="gate", key="subject"))
        place = HITLOperator.generate_link_to_ui_from_context(context=context)
        notify(context, "approval", subject, f"{context['ti'].xcom_pull(task_ids='gate', key='body')}\n\n{place}")
