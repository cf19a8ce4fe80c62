"""Backups of PostgreSQL, the registry and S3 as one consistent point, and the way back.

A backup is a folder `backups/TIME/` with a dump of schema `otaku`, a dump of MLflow's tables and `manifest.json`, which
is written last and names every file and object with its digest. Objects lie in `objects/` under their digest, once for
all backups of a target: a second backup copies what is new.

What is consistent: while both dumps are made and the objects are listed, nobody promotes (the lock of promotions) and
nobody deletes objects before they are copied (the lock `COPYING`). The dump of the ledger comes first, that of the
registry second, the list of objects last: what a row names was written before it, and is in the backup.
"""

from recsys.storage.backups.backing_up import back_up, prune_backups
from recsys.storage.backups.manifest import Manifest
from recsys.storage.backups.restoring import restore
from recsys.storage.backups.sources import Sources
from recsys.storage.backups.targets import Target, list_backups, open_target

__all__ = ["Manifest", "Sources", "Target", "back_up", "list_backups", "open_target", "prune_backups", "restore"]
