"""The command line: sentences and exit codes."""

import pytest
from sqlalchemy import Engine

from simulate_new_users.__main__ import main


@pytest.fixture
def configured(engine: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTAKU_DATABASE_URL", database_url)


@pytest.mark.local
@pytest.mark.usefixtures("configured")
def test_a_day_is_announced_added_and_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    day = ["--day", "2026-01-12", "--cohort-size", "2", "3"]
    sentences = []
    for arguments in ([*day, "--dry-run"], day, day):
        assert main(arguments) == 0
        sentences.append(capsys.readouterr().out)
    announced, added, left = sentences
    cohort = added.removeprefix("2026-01-12: ").removesuffix(" arrived\n")
    assert announced == f"2026-01-12: {cohort} would arrive; nothing was written\n"
    assert left == f"2026-01-12: nothing to do, {cohort} had arrived before\n"
    assert cohort.split()[0] in {"2", "3"}


@pytest.mark.local
@pytest.mark.usefixtures("configured")
def test_generated_users_are_reported_separately(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--day", "2027-01-05", "--cohort-size", "2", "2"]) == 0
    assert "2 users (2 of them generated) with" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "--day"),
        (["--day", "yesterday"], "yesterday"),
        (["--day", "2026-01-04"], "the queue starts on 2026-01-05"),
        (["--day", "2026-01-05", "--cohort-size", "9", "3"], "9..3"),
        (["--day", "2026-01-05", "--cohort-size", "9"], "requires 2 arguments"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err


def test_a_missing_database_url_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("without-dotenv"))
    monkeypatch.delenv("OTAKU_DATABASE_URL", raising=False)
    assert main(["--day", "2026-01-05"]) == 1
    assert "OTAKU_DATABASE_URL is not set" in capsys.readouterr().err
