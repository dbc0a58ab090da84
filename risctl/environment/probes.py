"""Examines packages that may crash or hang when imported, each in a Python process of its own.

A broken torch can end the interpreter, so `doctor` never imports it itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_TORCH = """
import torch
found["torch"] = torch.__version__
found["cuda_build"] = torch.version.cuda
found["threads"] = torch.get_num_threads()
found["cuda"] = []
try:
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free, total = torch.cuda.mem_get_info(index)
        found["cuda"].append({"name": torch.cuda.get_device_name(index), "free": free, "total": total})
except Exception as error:
    found["cuda_error"] = str(error)
mps = getattr(torch.backends, "mps", None)
found["mps"] = bool(mps and mps.is_available())
"""

_TORCHVISION = """
import torch
try:
    import torchvision
    found["torchvision"] = torchvision.__version__
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    found["nms"] = torchvision.ops.nms(boxes, torch.ones(1), 0.5).tolist() == [0]
except Exception as error:
    found["error"] = f"{type(error).__name__}: {error}"
"""

_OTHERS = """
import importlib, io
found["errors"] = {}
for name in ("numpy", "PIL", "h5py", "pycocotools.mask", "scipy", "safetensors", "accelerate", "transformers",
             "spacy"):
    try:
        importlib.import_module(name)
    except Exception as error:
        found["errors"][name] = f"{type(error).__name__}: {error}"
if "h5py" not in found["errors"]:
    import h5py
    found["hdf5"] = h5py.version.hdf5_version
    try:
        with h5py.File(io.BytesIO(), "w") as file:
            file["probe"] = [1, 2, 3]
            found["hdf5_works"] = file["probe"][:].tolist() == [1, 2, 3]
    except Exception as error:
        found["errors"]["h5py"] = f"{type(error).__name__}: {error}"
"""

PROBES: Mapping[str, str] = {"torch": _TORCH, "torchvision": _TORCHVISION, "others": _OTHERS}

_FRAME = """
import json, sys
found = {{}}
try:
{body}
except BaseException as error:
    found["failed"] = f"{{type(error).__name__}}: {{error}}"
print("\\n" + json.dumps(found))
"""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The outcome of a probe.

    Attributes:
        found: What it found.
        failed: Why it stopped early, None if it ended well.
    """

    found: Mapping[str, Any] = field(default_factory=dict)
    failed: str | None = None


def run_probes(*, timeout: float = 180.0) -> dict[str, ProbeResult]:
    """Runs all probes in parallel.

    Args:
        timeout: Seconds after which a probe is killed.

    Returns:
        The result of each probe by its name.
    """
    started = {name: _start(body) for name, body in PROBES.items()}
    try:
        return {name: _finish(process, timeout) for name, process in started.items()}
    finally:
        for process in started.values():  # an interrupt leaves none behind
            if process.poll() is None:
                process.kill()
                process.communicate()


def _start(body: str) -> subprocess.Popen[str]:
    script = _FRAME.format(body="\n".join("    " + line for line in body.strip().splitlines()))
    # -P: a folder called `torch` in the folder the command is run in is not torch.
    return subprocess.Popen(
        [sys.executable, "-P", "-W", "ignore", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )


def _finish(process: subprocess.Popen[str], timeout: float) -> ProbeResult:
    try:
        out, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return ProbeResult(failed=f"no answer within {timeout:.0f} seconds")
    last = out.strip().rpartition("\n")[2]
    try:
        found = json.loads(last)
    except ValueError:
        message = errors.strip().rpartition("\n")[2] or "no message"
        return ProbeResult(failed=f"the process ended with code {process.returncode}: {message}")
    return ProbeResult(found=found, failed=found.pop("failed", None))
