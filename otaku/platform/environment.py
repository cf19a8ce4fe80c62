"""Complete settings as environment variables, for child processes and other programs."""

import os
from collections.abc import Iterable
from pathlib import Path

from pydantic import SecretStr

from recsys.settings import Settings, list_variables

REGION = "us-east-1"
# Named although they are the default: other programs ask for them.
_ALWAYS = ("home", "s3_bucket", "model_name")


def settings_environment(settings: Settings) -> dict[str, str]:
    """Express the settings as the variables that they, and each service's own clients, are read from.

    What is unset or the default is left out. Every field of `Settings` is covered, so that a line of `.env` reaches
    processes that have another working directory.
    """
    named = {}
    for (name, field), variable in zip(Settings.model_fields.items(), list_variables(), strict=True):
        value = getattr(settings, name)
        if name in _ALWAYS or value != field.default:
            named[variable] = "" if value is None else _express(value)
    endpoint = named.get("OTAKU_S3_ENDPOINT_URL", "").rstrip("/")
    named |= {
        "OTAKU_S3_ENDPOINT_URL": endpoint,
        "MLFLOW_S3_ENDPOINT_URL": endpoint,
        "AWS_DEFAULT_REGION": os.environ.get("AWS_DEFAULT_REGION", REGION),
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }
    return {variable: value for variable, value in named.items() if value}


def _express(value: object) -> str:
    """Write a value as the settings read it."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Path):
        return str(value.expanduser().absolute())
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        return str(value)
    return ",".join(map(_express, value)) or "none"


def export_settings(settings: Settings) -> None:
    """Put the settings into the environment of this process, where MLflow's and Amazon's own clients look."""
    os.environ.update(settings_environment(settings))
