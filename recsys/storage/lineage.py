"""Names of tables, objects and models after the naming rules of OpenLineage, and what a job tells about its data.

https://openlineage.io/docs/spec/naming
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Engine, Table

# Namespace and name.
Dataset = tuple[str, str]


@dataclass(frozen=True)
class References:
    """What a job read and wrote, and where a person can look at it.

    Parameters
    ----------
    links
        Addresses for a browser, by label.
    inputs, outputs
        Namespace and name of each.
    """

    links: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[Dataset, ...] = ()
    outputs: tuple[Dataset, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-ready form."""
        return {
            "links": dict(self.links),
            "inputs": [list(dataset) for dataset in self.inputs],
            "outputs": [list(dataset) for dataset in self.outputs],
        }


def name_tables(engine: Engine, tables: Iterable[Table]) -> tuple[Dataset, ...]:
    """Name tables: `postgres://HOST:PORT` and `DATABASE.SCHEMA.TABLE`."""
    url = engine.url
    namespace = f"postgres://{url.host or 'localhost'}:{url.port or 5432}"
    return tuple((namespace, f"{url.database}.{table.schema or 'public'}.{table.name}") for table in tables)


def name_uri(uri: str) -> Dataset:
    """Name what lies at `s3://BUCKET/KEY`."""
    scheme, _, place = uri.partition("://")
    bucket, _, key = place.partition("/")
    return f"{scheme}://{bucket}", key.strip("/")


def name_version(tracking_uri: str, model_name: str, version: int) -> Dataset:
    """Name a version of a registered model; the rules have none for MLflow, so that its server is the namespace."""
    return tracking_uri.replace("http", "mlflow", 1), f"{model_name}/{version}"
