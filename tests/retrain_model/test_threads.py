"""Fits in threads must load no library there; it once left a retraining waiting for ever."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = """
import threading
from importlib.machinery import ExtensionFileLoader
create, loaded = ExtensionFileLoader.create_module, []
def watch(self, spec):
    if threading.current_thread() is not threading.main_thread():
        loaded.append(spec.name)
    return create(self, spec)
ExtensionFileLoader.create_module = watch
from recsys.retrieval.first_stage import cross_fit
from recsys.retrieval.registry import make_first_stage
from recsys.retrieval.spec import ModelInputs
from tests.factories import tiny_world
catalog, interactions = tiny_world()
matrix = interactions.to_matrix(catalog)
make = lambda: make_first_stage(ModelInputs())
fitted = list(cross_fit(matrix, interactions.user_ids, catalog, make, n_folds=2, n_threads=2))
assert len(fitted) == 3
print(*loaded)
"""


def test_no_library_is_loaded_in_a_thread() -> None:
    result = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
