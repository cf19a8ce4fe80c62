"""Every tampered version among the candidates, each tried in a child process, while requests keep coming."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from recsys.settings import Settings
from recsys.storage.registry import Registry
from tests.app.test_swap_under_load import DAMAGES, Scene, check_load, open_scene, swap_under_load
from tests.hostile.tampering import TAMPERINGS

pytestmark = [pytest.mark.local, pytest.mark.e2e, pytest.mark.timeout(3600)]
N_SWAPS = 6


@pytest.fixture
def attacked(settings: Settings, registry: Registry, model_folders: dict[int, Path], tmp_path: Path) -> Iterator[Scene]:
    damages = {**DAMAGES, **TAMPERINGS}
    more = {"OTAKU_TRIAL_SECONDS": "300"}
    with open_scene(settings, registry, model_folders, tmp_path, damages, **more) as opened:
        yield opened


def test_no_request_fails_and_the_process_stays_the_same(attacked: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    n_broken = -(-len(attacked.broken) // N_SWAPS)
    process = attacked.server.process.pid

    load, moves = swap_under_load(attacked, N_SWAPS, n_responses=1_000, n_clients=2, n_broken=n_broken)

    check_load(load, attacked, 1_000)
    assert set(moves.refused) == set(attacked.broken)
    assert attacked.server.process.poll() is None
    assert attacked.server.process.pid == process
    with capsys.disabled():
        median, late = np.percentile(load.seconds, [50, 99]) * 1000
        print(  # noqa: T201 - what the test measured
            f"\n{len(attacked.broken)} tampered versions refused, {moves.n_swaps} swaps, {load.n_responses} responses, "
            f"{len(load.wrong)} wrong, p50 {median:.1f} ms, p99 {late:.1f} ms"
        )
