"""What the platform has to know about a service: how to start it, ask it, and do without it when one is named."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from otaku.platform.state import Credentials
from otaku.platform.supervisor import Service
from recsys.settings import Settings


@dataclass(frozen=True)
class Site:
    """Where a service is set up.

    Parameters
    ----------
    settings
        With the gaps filled by the parts that already run.
    durable
        False for data that are thrown away: nothing waits for the disk.
    """

    home: Path
    settings: Settings
    credentials: Credentials
    durable: bool = True


@dataclass(frozen=True)
class Part:
    """One service of the platform; a further one is a further entry in the list of parts.

    Parameters
    ----------
    name
        Unique; what `otaku status` shows.
    variable, field
        The environment variable that names an outside service, and the same as a field of the settings; both empty
        where none can take its place.
    needs
        Parts that must answer before this one starts.
    describe
        Prepare the data and describe the service on a port.
    fill
        The fields of the settings that this part fills when it runs on a port.
    problem
        Check the service of complete settings; None if it answers, else the reason in one line.
    after_start
        Called once it answers.
    """

    name: str
    variable: str
    field: str
    describe: Callable[[Site, int], Service]
    fill: Callable[[Site, int], Mapping[str, object]]
    problem: Callable[[Settings], str | None]
    needs: tuple[str, ...] = ()
    after_start: Callable[[Site], None] = lambda _site: None

    def is_given(self, settings: Settings) -> bool:
        """Return whether the settings name an outside service in its place."""
        return bool(self.field) and getattr(settings, self.field) is not None
