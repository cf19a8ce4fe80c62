"""How MLflow's server is started: on loopback on one machine, on all addresses with named hosts in a cluster."""

import pytest

from otaku.platform.mlflow_server import parse


def test_it_listens_on_loopback_unless_told_otherwise() -> None:
    options = parse(["5000", "s3://otaku/mlflow"])
    assert (options.port, options.artifact_root, options.host) == (5000, "s3://otaku/mlflow", "127.0.0.1")
    assert options.allowed_hosts is None


def test_a_cluster_names_address_and_hosts() -> None:
    options = parse(["5000", "s3://otaku/mlflow", "--host", "0.0.0.0", "--allowed-hosts", "mlflow:5000"])  # noqa: S104
    assert (options.host, options.allowed_hosts) == ("0.0.0.0", "mlflow:5000")  # noqa: S104


def test_a_port_that_is_no_number_is_wrong_usage() -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(["http", "s3://otaku/mlflow"])
    assert stopped.value.code == 2
