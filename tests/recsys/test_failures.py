import errno

import psycopg2.errors
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from recsys.exceptions import MachineError, RetrainError, ServiceUnavailableError
from recsys.failures import find_machine_error
from recsys.storage.database import create_database_engine


def caused_by(error: Exception, cause: BaseException | None) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/data/x"), "the disk is full: /data/x; free some space"),
        (PermissionError(errno.EACCES, "Permission denied", "/data/x"), "permission denied: /data/x; give this user"),
        (MemoryError("Unable to allocate 8 GiB"), "there is not enough memory: Unable to allocate 8 GiB; end other"),
        (psycopg2.errors.DiskFull("could not extend file"), None),
        (
            ServiceUnavailableError("S3 refused s3://otaku/x: write /a: no space left on device"),
            "the disk is full; free",
        ),
        (caused_by(RetrainError("no"), OSError(errno.ENOSPC, "")), "the disk is full; free some space"),
    ],
)
def test_the_cause_is_one_sentence(error: Exception, sentence: str | None) -> None:
    found = find_machine_error(error)
    if sentence is None:  # made without a server, it has no code
        assert found is None
    else:
        assert isinstance(found, MachineError)
        assert str(found).startswith(sentence)


def test_a_sentence_that_hides_what_led_to_it_is_kept() -> None:
    error = caused_by(RetrainError("OTAKU_HOME=/srv cannot be used; choose a folder of yours"), None)
    error.__context__ = PermissionError(errno.EACCES, "Permission denied", "/srv")
    assert find_machine_error(error) is None


@pytest.mark.local
def test_a_right_that_postgresql_refuses_is_named_without_the_statement(database_url: str) -> None:
    engine = create_database_engine(database_url)
    with engine.connect() as connection:
        connection.execute(text("CREATE ROLE reader; SET LOCAL ROLE reader"))
        with pytest.raises(DBAPIError) as refused:
            connection.execute(text("DELETE FROM otaku.users WHERE user_id = 4711"))
    engine.dispose()
    sentence = str(find_machine_error(refused.value))
    assert sentence.startswith("permission denied: PostgreSQL says 'permission denied for")
    assert "4711" not in sentence
