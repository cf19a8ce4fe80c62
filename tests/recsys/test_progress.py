"""Progress as log lines: start, end, and at least one every 30 s, by a clock of the test."""

import threading

import pytest

from recsys.progress import ProgressLines, Stage, log_progress, track_stage


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def open_lines() -> tuple[ProgressLines, Clock, list[str]]:
    clock, written = Clock(), list[str]()
    return ProgressLines(written.append, clock), clock, written


def test_a_stage_has_a_line_at_its_start_and_at_its_end() -> None:
    report, clock, written = open_lines()
    for done in range(5):
        report("fit retrieval", done, 4)
        clock.now += 2
    assert written == ["fit retrieval: started, 4 to do", "fit retrieval: finished 4 of 4 in 8 s"]


def test_a_stage_that_reports_often_writes_every_30_seconds_with_share_and_rate() -> None:
    report, clock, written = open_lines()
    for done in range(0, 1000, 10):
        report("embed text", done, 2000)
        clock.now += 1
    assert written == [
        "embed text: started, 2,000 to do",
        "embed text: 300 of 2,000 (15 %), 10/s, 30 s",
        "embed text: 600 of 2,000 (30 %), 10/s, 60 s",
        "embed text: 900 of 2,000 (45 %), 10/s, 90 s",
    ]


def test_a_stage_that_reports_nothing_is_not_silent_for_longer_than_30_seconds() -> None:
    report, clock, written = open_lines()
    report("gate", 0, 1)
    for _ in range(61):
        clock.now += 1
        report.tick()
    assert written == ["gate: started", "gate: running, 30 s", "gate: running, 60 s"]


def test_the_innermost_stage_is_shown_and_after_its_end_the_outer_one() -> None:
    report, clock, written = open_lines()
    report("steps", 1, 3)
    report("evaluate", 0, 6)
    clock.now = 30
    report.tick()
    report("evaluate", 6, 6)
    clock.now = 60
    report.tick()
    assert written[2:] == [
        "evaluate: 0 of 6 (0 %), 30 s",
        "evaluate: finished 6 of 6 in 30 s",
        "steps: 1 of 3 (33 %), 0.0167/s, 60 s",
    ]


def test_nothing_is_written_while_no_stage_runs() -> None:
    report, clock, written = open_lines()
    report("read", 1, 1)
    clock.now = 300
    report.tick()
    assert written == ["read: finished in 0 s"]


def test_a_stage_of_one_unit_that_fails_is_not_reported_as_finished() -> None:
    report, _, written = open_lines()
    with track_stage(report, "snapshot"):
        pass
    with pytest.raises(ZeroDivisionError), track_stage(report, "gate"):
        _ = 1 / 0
    assert written == ["snapshot: started", "snapshot: finished in 0 s", "gate: started"]


def test_an_empty_stage_is_finished_at_once() -> None:
    report, _, written = open_lines()
    report("embed text", 0, 0)
    assert written == ["embed text: finished 0 of 0 in 0 s"]
    assert Stage("embed text", 0, 0, 0.0).describe(1.0) == "embed text: 0 of 0 (0 %), 1 s"


def test_a_silent_stage_is_watched_by_a_thread_that_ends_with_the_block() -> None:
    told = threading.Event()

    def write(line: str) -> None:
        if "running" in line:
            told.set()

    with log_progress(write, interval=0.01) as report:
        report("snapshot", 0, 1)
        assert told.wait(60)
    assert all(thread.name != "progress" for thread in threading.enumerate())
