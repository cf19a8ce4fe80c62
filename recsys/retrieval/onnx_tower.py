"""A tower in ONNX format, run by onnxruntime: no PyTorch."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.exceptions import ArtifactError
from recsys.types import Floats


@dataclass(frozen=True)
class OnnxTower:
    """One exported tower; immutable and safe to share among threads.

    Parameters
    ----------
    content
        The bytes of the file.
    """

    content: bytes

    @property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def session(self) -> Any:
        """Session with one thread, which waits without spinning: the service has threads of its own."""
        import onnxruntime  # for models that need it alone: it takes 30 MB

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.enable_cpu_mem_arena = False
        return onnxruntime.InferenceSession(self.content, options, providers=["CPUExecutionProvider"])

    def run(self, **inputs: npt.NDArray[Any]) -> Floats:
        """Compute the only output from named inputs."""
        return np.asarray(self.session.run(None, inputs)[0], dtype=np.float32)

    def save(self, path: Path) -> None:
        """Write the file."""
        path.write_bytes(self.content)

    @classmethod
    def load(cls, path: Path, digest: str) -> "OnnxTower":
        """Read a file whose digest is known.

        Raises
        ------
        ArtifactError
            If it is missing, truncated or altered; it is not handed to onnxruntime then.
        """
        try:
            tower = cls(path.read_bytes())
        except OSError as error:
            raise ArtifactError(f"{path.name} cannot be read: {error}") from error
        if tower.digest != digest:
            raise ArtifactError(
                f"{path.name} was truncated or altered: digest {tower.digest[:12]} instead of {digest[:12]}; "
                "publish the version again"
            )
        return tower
