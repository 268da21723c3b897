"""What TensorFlow.js makes of exported models, in one process of node."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from policy import HANG
from weft.browser import runtime

SCRIPT = Path(__file__).parent / "tfjs" / "evaluate.js"


class Asked(NamedTuple):
    """A model.json and an input in TensorFlow.js's order of axes, float32 or int32."""

    model: Path
    input: Any


def evaluate(asked: list[Asked]) -> list[dict[str, Any]]:
    """For each: shape, data and the weights that were saved there, or the error."""
    texts = []
    for path, x in asked:
        model = json.loads(path.read_text())
        group = model["weightsManifest"][0]
        data = b"".join((path.parent / name).read_bytes() for name in group["paths"])
        x = np.ascontiguousarray(x)
        texts.append({
            "topology": model["modelTopology"], "specs": group["weights"], "weights": base64.b64encode(data).decode(),
            "input": {"data": base64.b64encode(x).decode(), "shape": x.shape, "dtype": str(x.dtype)},
        })  # fmt: skip
    command = ["node", SCRIPT, runtime.folder_of("tfjs") / "tf.es2017.min.js"]
    done = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, timeout=HANG)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)
