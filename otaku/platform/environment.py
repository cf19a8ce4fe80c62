"""Complete settings as environment variables, for child processes and other programs."""

import os
from collections.abc import Mapping

from pydantic import SecretStr

from recsys.settings import Settings

REGION = "us-east-1"


def settings_environment(settings: Settings) -> dict[str, str]:
    """Express the settings under the names that each service's own clients read; unset ones are left out."""
    endpoint = str(settings.s3_endpoint_url).rstrip("/") if settings.s3_endpoint_url else None
    named: Mapping[str, str | None] = {
        "OTAKU_HOME": str(settings.home),
        "OTAKU_DATABASE_URL": _reveal(settings.database_url),
        "OTAKU_MLFLOW_DATABASE_URL": _reveal(settings.mlflow_database_url),
        "OTAKU_S3_ENDPOINT_URL": endpoint,
        "OTAKU_S3_BUCKET": settings.s3_bucket,
        "OTAKU_MODEL_NAME": settings.model_name,
        "OTAKU_TEXT_MODEL": settings.text_model,
        "OTAKU_LOG_LEVEL": settings.log_level,
        "OTAKU_API_KEYS": ",".join(key.get_secret_value() for key in settings.api_keys) or None,
        "OTAKU_PAGES_SECRET": _reveal(settings.pages_secret),
        "OTAKU_AUTH": settings.auth,
        "OTAKU_REDIS_URL": _reveal(settings.redis_url),
        "OTAKU_CORS_ORIGINS": ",".join(settings.cors_origins) or None,
        "OTAKU_ALGORITHMS": None if settings.algorithms is None else ",".join(settings.algorithms) or "none",
        "OTAKU_HYBRID_WEIGHTS": ",".join(map(str, settings.hybrid_weights or ())) or None,
        "OTAKU_MF_MIN_RATINGS": str(settings.mf_min_ratings or "") or None,
        "OTAKU_RELEVANCE_LOSSES": ",".join(settings.relevance_losses or ()) or None,
        "OTAKU_RELEVANCE_BOOSTERS": str(settings.relevance_boosters or "") or None,
        "OTAKU_TRAIN_THREADS": str(settings.train_threads),
        "OTAKU_NOTIFY": ",".join(settings.notify) or None,
        "OTAKU_AIRFLOW_KEEP_DAYS": str(settings.airflow_keep_days or "") or None,
        "OTAKU_LINEAGE_FILE": str(settings.lineage_file or "") or None,
        **_list_changes(settings),
        "AWS_ACCESS_KEY_ID": _reveal(settings.aws_access_key_id),
        "AWS_SECRET_ACCESS_KEY": _reveal(settings.aws_secret_access_key),
        "AWS_DEFAULT_REGION": os.environ.get("AWS_DEFAULT_REGION", REGION),
        "MLFLOW_S3_ENDPOINT_URL": endpoint,
        "MLFLOW_TRACKING_URI": settings.mlflow_tracking_uri,
        "MLFLOW_TRACKING_USERNAME": settings.mlflow_tracking_username,
        "MLFLOW_TRACKING_PASSWORD": _reveal(settings.mlflow_tracking_password),
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }
    return {name: value for name, value in named.items() if value}


_SERVICE = (
    *("rate_limit", "pages", "cache_seconds", "cache_megabytes", "work_threads", "max_waiting", "wait_seconds"),
    *("database_seconds", "model_cache", "watch_seconds", "shadow_share", "canary_share", "log_format"),
    *("trial_seconds", "trial_megabytes", "promotions", "feedback_limit", "registration_limit"),
    *("cohort_min", "cohort_max"),
)


def _list_changes(settings: Settings) -> dict[str, str]:
    """Name the settings of the service that are not the default."""
    values = {name: getattr(settings, name) for name in _SERVICE}
    changed = {name: value for name, value in values.items() if value != Settings.model_fields[name].default}
    return {f"OTAKU_{name}".upper(): str(value) for name, value in changed.items()}


def export_settings(settings: Settings) -> None:
    """Put the settings into the environment of this process, where MLflow's and Amazon's own clients look."""
    os.environ.update(settings_environment(settings))


def _reveal(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value else None
