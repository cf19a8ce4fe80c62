"""Move the aliases of the registry to the versions that the ledger names."""

import logging

from recsys.exceptions import MissingProductionVersionError
from recsys.storage.registry import CHALLENGER, PREVIOUS, PRODUCTION, Registry

logger = logging.getLogger(__name__)


def move_aliases(registry: Registry, production: int, previous: int | None) -> None:
    """Point `production`, then `previous`, at their versions; for `recsys.storage.promotion`, which holds the lock.

    A `previous` that was deleted from the registry is cleared with a warning. The alias `challenger` is removed when
    another version takes over, since it named a candidate against the former champion.

    Raises
    ------
    MissingProductionVersionError
        If the version in Production was deleted from the registry.
    """
    if registry.production_version() != production:
        if not registry.has_version(production):
            raise MissingProductionVersionError(
                f"version {production} is in Production by the ledger, but was deleted from the registry; put another "
                "one there with `otaku models rollback` or `otaku models promote VERSION`, each with --reason TEXT"
            )
        if registry.alias_version(CHALLENGER) is not None:
            _point(registry, CHALLENGER, None)
        _point(registry, PRODUCTION, production)
    if previous is not None and not registry.has_version(previous):
        logger.warning("version %d was in Production before, but was deleted; there is no way back to it", previous)
        previous = None
    if registry.alias_version(PREVIOUS) != previous:
        _point(registry, PREVIOUS, previous)


def _point(registry: Registry, alias: str, version: int | None) -> None:
    logger.info("alias %s moves to version %s", alias, version)
    registry.point_alias(alias, version)
