"""Work is measured by itself: time, processors and the peak of memory."""

import time

import numpy as np
import pytest

from recsys.usage import measure_usage


def test_a_peak_is_that_of_the_work_and_not_of_what_came_before() -> None:
    with measure_usage() as large:
        assert np.ones(40_000_000).sum() > 0  # 305 MiB
    with measure_usage() as small:
        assert np.ones(1_000).sum() > 0
    assert 250 < large.peak_mib - small.peak_mib < 400


def test_seconds_pass_and_processors_compute() -> None:
    with measure_usage() as waiting:
        time.sleep(0.2)
    with measure_usage() as working:
        started = time.process_time()
        while time.process_time() < started + 0.2:
            pass
    assert waiting.seconds >= 0.2 > waiting.cpu_seconds
    assert working.cpu_seconds >= 0.2


def test_what_failed_is_measured_too() -> None:
    with pytest.raises(KeyError), measure_usage() as usage:
        _ = {}["nothing"]
    assert usage.peak_mib > 1
