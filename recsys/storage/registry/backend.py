"""The tables that MLflow keeps in its own database; for backups, which cannot go through its server."""

from sqlalchemy import Engine


def list_backend_tables() -> set[str]:
    """List the tables of the installed MLflow."""
    from mlflow.store.db.base_sql_model import Base
    from mlflow.store.model_registry.dbmodels import models as _registry  # noqa: F401 - adds its tables
    from mlflow.store.tracking.dbmodels import models as _tracking  # noqa: F401 - adds its tables

    return {*Base.metadata.tables, "alembic_version"}


def upgrade_backend(engine: Engine) -> None:
    """Bring the tables of another release of MLflow to those of the installed one, as `mlflow db upgrade` does."""
    from mlflow.store.db.utils import _upgrade_db

    _upgrade_db(engine)
