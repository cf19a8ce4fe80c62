"""Which version may be served: the one that the ledger names, whatever an alias says."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from recsys.exceptions import ArtifactError, RecsysError

logger = logging.getLogger(__name__)
# Between a row of the ledger and the alias that follows it lies a moment, which is no problem.
PATIENCE: Final = 3  # looks


class RegisteredVersion(Protocol):
    """A registered version."""

    @property
    def run_id(self) -> str:
        """The MLflow run that created it."""

    @property
    def digest(self) -> str:
        """Digest of its files, as registered."""


class ModelSource(Protocol):
    """Source of model versions: `recsys.storage.registry.Registry`, or a folder in tests."""

    def production_version(self) -> int | None:
        """Return the version in Production, or None before the first promotion."""

    def alias_version(self, alias: str) -> int | None:
        """Return the version that carries an alias, or None."""

    def read_version(self, version: int) -> RegisteredVersion:
        """Look up one version."""

    def download(self, version: int, directory: Path) -> Path:
        """Download a version below a directory and return its folder."""


@dataclass(frozen=True)
class Champion:
    """The version in Production by the ledger, and the digest of its files; empty where an entry is older than that."""

    version: int
    digest: str


# Reads the champion, None while the ledger is empty; raises a RecsysError while it does not answer.
Ledger = Callable[[], Champion | None]


class Authority:
    """Decides which version is the one to serve.

    With a ledger it is the one that the ledger names, with the bytes that it named. An alias that points elsewhere
    changes nothing and is told as a problem, and while the ledger does not answer nothing is taken over.

    Parameters
    ----------
    ledger
        None to go by the alias alone.
    """

    def __init__(self, source: ModelSource, ledger: Ledger | None) -> None:
        self._source = source
        self._ledger = ledger
        self._champion: Champion | None = None
        self._n_astray = 0
        self.problems: list[str] = []

    def decide(self, alias: int | None) -> int | None:
        """Return the version to serve, or None if nothing may be taken over now.

        Parameters
        ----------
        alias
            The version that the alias points at.
        """
        if self._ledger is None:
            return alias
        try:
            self._champion = self._ledger()
        except RecsysError as error:
            self.problems = ["the ledger of promotions does not answer"]
            logger.warning("the ledger of promotions does not answer, the model stays: %s", error)
            return None
        named = self._champion.version if self._champion is not None else None
        self._n_astray = self._n_astray + 1 if alias not in (named, None) else 0
        self.problems = [_describe(alias, named)] if self._n_astray >= PATIENCE else []
        if self._n_astray == PATIENCE:
            logger.error("%s", self.problems[0])
        # A registry that has lost its alias has a problem of its own.
        return None if alias is None else named

    def read_version(self, version: int) -> RegisteredVersion:
        """Look a version up.

        Raises
        ------
        ArtifactError
            If it was promoted with other bytes than the registry has for it now.
        """
        found = self._source.read_version(version)
        told = self._champion.digest if self._champion is not None else ""
        if told and found.digest != told:
            raise ArtifactError(
                f"version {version} was promoted with digest {told[:12]}; the registry names {found.digest[:12]} now: "
                "it was exchanged, promote another version"
            )
        return found


def _describe(alias: int | None, named: int | None) -> str:
    promoted = "no version was promoted" if named is None else f"version {named} was promoted"
    return (
        f"the alias production points at version {alias}, but by the ledger {promoted}; "
        f"`otaku models promote {alias}` promotes it"
    )
