"""The original's own protocols on the same data; see `recsys.evaluation.original_protocols`."""

from typing import Any

from otaku.evaluation.harness import EvaluationHarness
from recsys.retrieval.registry import get_spec


def evaluate_leaky(harness: EvaluationHarness) -> dict[str, Any]:
    """Measure what the original would have reported on these data."""
    from recsys.evaluation.original_protocols import OriginalSettings, measure_original

    own = dict(get_spec("original").select_params(harness.inputs.params))
    settings = OriginalSettings(n_threads=harness.inputs.n_threads, **own)
    return measure_original(
        harness.world.catalog,
        harness.world.interactions,
        harness.inputs.text_vectors(),
        settings,
        on_progress=lambda done, total: harness.on_progress("leaky protocols", done, total),
    )
