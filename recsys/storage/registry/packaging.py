"""Describe a saved recommender in MLflow's own format, with signature and input example and without any pickle."""

import json
import platform
import shutil
from importlib.metadata import version
from pathlib import Path

from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import Array

from recsys.storage.registry.connection import DATA
from recsys.storage.registry.shipped_code import write_code

LOADER = "recsys.storage.pyfunc_loader"
CODE = "code/recsys.zip"

# What the shipped code imports to load and to recommend; MLflow's own server of models is part of `mlflow`.
_REQUIREMENTS = ("mlflow", "jellyfish", "lightgbm", "llvmlite", "numba", "numpy", "pandas", "pyarrow", "scipy")
_EXAMPLE = {"columns": ["item_ids", "ratings"], "data": [[[1, 5114], [9.0, 10.0]]]}


def write_package(target: Path, directory: Path, model_id: str, run_id: str) -> None:
    """Write the folder of a version: the files of `directory`, the code that reads them, and MLflow's `MLmodel`.

    `mlflow.pyfunc.save_model` would do the same, but imports every flavour and guesses requirements by loading.

    Parameters
    ----------
    target
        A folder that does not exist yet.
    directory
        What `Recommender.save` wrote.
    """
    shutil.copytree(directory, target / DATA)
    write_code(target / CODE, LOADER)
    python = platform.python_version()
    requirements = [f"{name}=={version(name)}" for name in _REQUIREMENTS]
    (target / "requirements.txt").write_text("\n".join(requirements) + "\n")
    # JSON is YAML. MLflow asks for both files, whichever manager of environments it uses.
    environment = {"python": python, "dependencies": ["-r requirements.txt"]}
    (target / "python_env.yaml").write_text(json.dumps(environment))
    conda = [f"python={python}", "pip", {"pip": requirements}]
    (target / "conda.yaml").write_text(
        json.dumps({"name": "mlflow-env", "channels": ["conda-forge"], "dependencies": conda})
    )
    (target / "input_example.json").write_text(json.dumps(_EXAMPLE))
    model = Model(
        model_uuid=model_id,
        model_id=model_id,
        run_id=run_id,
        signature=_signature(),
        saved_input_example_info={
            "artifact_path": "input_example.json",
            "type": "dataframe",
            "pandas_orient": "split",
        },
    )
    environments = {"virtualenv": "python_env.yaml", "conda": "conda.yaml"}
    model.add_flavor(
        "python_function", loader_module=LOADER, data=DATA, code=CODE, python_version=python, env=environments
    )
    model.save(str(target / "MLmodel"))


def _signature() -> ModelSignature:
    ids, numbers = Array(DataType.long), Array(DataType.double)
    return ModelSignature(
        inputs=Schema([ColSpec(ids, "item_ids"), ColSpec(numbers, "ratings")]),
        outputs=Schema([ColSpec(ids, "item_ids"), ColSpec(numbers, "scores"), ColSpec(numbers, "predicted_ratings")]),
        params=ParamSchema([ParamSpec("k", DataType.long, 10)]),
    )
