"""The fixtures that every other test stands on."""

import psycopg2
from pydantic import SecretStr

from otaku.platform import object_store, tracking
from recsys.settings import Settings


def test_each_database_is_fresh(database_url: str, empty_database_url: str) -> None:
    for url in (database_url, empty_database_url):
        connection = psycopg2.connect(url)
        with connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE only_here (n int)")
            cursor.execute("SELECT count(*) FROM only_here")
            assert cursor.fetchone() == (0,)
        connection.close()


def test_s3_lets_in_those_with_the_key_only(s3_settings: Settings) -> None:
    assert object_store.problem_of(s3_settings) is None
    wrong = s3_settings.model_copy(update={"aws_secret_access_key": SecretStr("wrong")})
    assert object_store.problem_of(wrong) is not None


def test_mlflow_answers(mlflow_uri: str) -> None:
    assert tracking.problem_of(mlflow_uri) is None
