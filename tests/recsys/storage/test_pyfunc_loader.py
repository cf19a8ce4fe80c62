import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys.exceptions import DataContractError
from recsys.recommender import UserProfile
from recsys.settings import Settings
from recsys.storage.artifacts import ArtifactStore
from recsys.storage.pyfunc_loader import _load_pyfunc
from recsys.storage.registry import PRODUCTION, Registry
from tests.factories import tiny_recommender

LOAD_AS_ANYONE_WOULD = """
import json, sys, warnings
warnings.simplefilter("ignore")
import mlflow.pyfunc, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
example = pandas.DataFrame({"item_ids": [[1, 5114, 999_999]], "ratings": [[9.0, 10.0, 1.0]]})
print(json.dumps(model.predict(example, params={"k": 5}).iloc[0].to_dict()))
"""


def test_predict_is_recommend(tmp_path: Path) -> None:
    tiny_recommender().save(tmp_path / "model")
    answers = _load_pyfunc(str(tmp_path / "model")).predict(
        pd.DataFrame({"item_ids": [[20], []], "ratings": [[9], []]})
    )
    expected = tiny_recommender().recommend(UserProfile(np.array([20]), np.array([9], dtype=np.float32)))
    assert answers["item_ids"][0] == expected.item_ids.tolist()
    assert [len(found) for found in answers["scores"]] == [10, 10]


def test_lists_of_different_lengths_are_refused_by_their_row(tmp_path: Path) -> None:
    tiny_recommender().save(tmp_path / "model")
    frame = pd.DataFrame({"item_ids": [[20], [20, 21]], "ratings": [[9], [9]]})
    with pytest.raises(DataContractError, match="row 1 has 2 item_ids and 1 ratings"):
        _load_pyfunc(str(tmp_path / "model")).predict(frame)


@pytest.mark.local
@pytest.mark.slow
def test_a_promoted_version_loads_by_its_alias_through_mlflow_alone(
    mlflow_uri: str, store: ArtifactStore, s3_settings: Settings, tmp_path: Path
) -> None:
    name = f"anime-{uuid.uuid4().hex[:8]}"
    registry = Registry(mlflow_uri, name, store)
    tiny_recommender().save(tmp_path / "model")
    version = registry.register_model(registry.start_run("a"), tmp_path / "model", "a")
    registry.point_alias(PRODUCTION, version)
    key, secret = s3_settings.aws_access_key_id, s3_settings.aws_secret_access_key
    assert key is not None
    assert secret is not None
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "MLFLOW_TRACKING_URI": mlflow_uri,
        "MLFLOW_S3_ENDPOINT_URL": str(s3_settings.s3_endpoint_url),
        "AWS_ACCESS_KEY_ID": key.get_secret_value(),
        "AWS_SECRET_ACCESS_KEY": secret.get_secret_value(),
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }
    command = [sys.executable, "-c", LOAD_AS_ANYONE_WOULD, f"models:/{name}@production"]
    found = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=600)
    assert found.returncode == 0, found.stderr[-2000:]
    answer = json.loads(found.stdout)
    known = UserProfile(np.array([1, 5114]), np.array([9, 10], dtype=np.float32))
    assert answer["item_ids"] == tiny_recommender().recommend(known, k=5).item_ids.tolist()
