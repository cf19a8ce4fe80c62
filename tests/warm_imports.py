"""What a process imports before it forks programs, so that each fork need not: imports and compiled kernels."""

import gc
import importlib

# What services and retrainings take seconds to import, such as the kernels of forests, which are compiled by it.
HEAVY = (
    "app.server",
    "implicit.als",
    "lightfm",
    "matplotlib.pyplot",
    "mlflow.pyfunc",
    "recsys.evaluation.plots",
    "recsys.evaluation.training_plots",
    "recsys.features.lightfm_embeddings",
    "recsys.ranking.forest",
    "recsys.storage.registry.packaging",
    "retrain_model.job",
    "retrain_model.steps",
    "retrain_model.text_cache",
    "sentence_transformers",
)


def import_heavy_modules() -> None:
    """Import them all, in the order of their names, and keep the garbage collector away from what they leave."""
    for name in HEAVY:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
