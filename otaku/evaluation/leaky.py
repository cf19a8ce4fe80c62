"""The original's own protocols on the same data; see `recsys.evaluation.original_protocols`."""

from typing import Any

from otaku.evaluation.bench import Bench


def judge_leaky(bench: Bench) -> dict[str, Any]:
    """Measure what the original would have reported on these data."""
    from recsys.evaluation.original_protocols import OriginalSettings, measure_original

    own = dict(bench.materials.params.get("seed004", {}))
    settings = OriginalSettings(n_threads=bench.materials.n_threads, **own)
    return measure_original(
        bench.world.catalog,
        bench.world.interactions,
        bench.materials.text_vectors(),
        settings,
        on_progress=lambda done, total: bench.on_progress("leaky protocols", done, total),
    )
