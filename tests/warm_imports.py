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
    _compile_kernels()
    gc.collect()
    gc.freeze()


def _compile_kernels() -> None:
    """Train a tiny model and make a list, for the kernels that are compiled when they are first called."""
    from tqdm import tqdm

    from app.models.serving import ServingModel, check_model
    from tests.factories import tiny_recommender

    tqdm.monitor_interval = 0  # its monitor is a thread
    check_model(ServingModel.build(tiny_recommender().accelerate(), name="tiny", version=1, run_id=""))
