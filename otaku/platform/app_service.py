"""The recommendation service as a part of the platform, once there is a model to serve."""

import sys
import urllib.error
import urllib.request

from otaku.platform import object_store, postgres, tracking
from otaku.platform.environment import settings_environment
from otaku.platform.part import Part, Site
from otaku.platform.supervisor import Service
from recsys.settings import Settings

NAME = "app"


def _describe(site: Site, port: int) -> Service:
    url = f"http://127.0.0.1:{port}"
    return Service(
        name=NAME,
        command=(sys.executable, "-m", "app"),
        url=url,
        is_ready=lambda: answers(url),
        environment={
            **settings_environment(site.settings),
            "OTAKU_HOST": "127.0.0.1",
            "OTAKU_PORT": str(port),
            "OMP_NUM_THREADS": "1",
        },
        grace=15.0,
    )


def answers(url: str) -> bool:
    """Whether a service at an address answers."""
    try:
        with urllib.request.urlopen(f"{url}/health/live", timeout=5) as response:  # noqa: S310 - our own loopback address
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _fill(_site: Site, port: int) -> dict[str, object]:
    return {"port": port}


def _problem(settings: Settings) -> str | None:
    return None if answers(f"http://127.0.0.1:{settings.port}") else "does not answer"


PART = Part(
    *(NAME, "", "", _describe, _fill, _problem),
    needs=(postgres.NAME, object_store.NAME, tracking.NAME),
)
