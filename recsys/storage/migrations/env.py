"""Tell Alembic to use the connection it is handed and to look at schema `otaku` alone."""

from alembic import context

from recsys.storage.tables import SCHEMA, metadata


def _is_ours(name: str | None, type_: str, _parents: object) -> bool:
    return type_ != "schema" or name == SCHEMA


def _run() -> None:
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=metadata,
        version_table_schema=SCHEMA,
        include_schemas=True,
        include_name=_is_ours,
    )
    with context.begin_transaction():
        context.run_migrations()


_run()
