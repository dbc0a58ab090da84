"""Examines packages that may crash or hang when imported, in Python processes of their own.

A broken torch can end the interpreter, so `doctor` never imports it itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

_TORCH = """
import torch
found["torch"] = torch.__version__
found["cuda_build"] = torch.version.cuda
found["threads"] = torch.get_num_threads()
mps = getattr(torch.backends, "mps", None)
found["mps"] = bool(mps and mps.is_available())
"""

# What differs between builds is in the compiled operators. All of torchvision takes seconds to import.
_TORCHVISION = """
import importlib.util, pathlib, torch
folder = pathlib.Path(importlib.util.find_spec("torchvision").origin).parent
compiled = sorted(file for file in folder.glob("_C*") if file.suffix in (".so", ".pyd", ".dylib"))
try:
    if compiled:
        torch.ops.load_library(str(compiled[0]))
    else:
        import torchvision
    found["nms"] = torch.ops.torchvision.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5).tolist() == [0]
except Exception as error:
    found["error"] = f"{type(error).__name__}: {error}"
"""

_GPUS = """
import torch
found["cuda"] = []
try:
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free, total = torch.cuda.mem_get_info(index)
        found["cuda"].append({"name": torch.cuda.get_device_name(index), "free": free, "total": total})
except Exception as error:
    found["error"] = str(error)
"""

_COMPILED = """
import io
found["errors"] = imported("numpy", "PIL", "h5py", "pycocotools.mask", "scipy", "safetensors")
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

_SLOW = """
found["errors"] = imported("torchvision", "accelerate", "transformers", "spacy")
"""

PROBES: Mapping[str, str] = {
    "torch": _TORCH,
    "torchvision": _TORCHVISION,
    "gpus": _GPUS,
    "compiled": _COMPILED,
    "slow": _SLOW,
}
"""What each probe runs; it puts what it learns into the dict `found`."""

QUICK = (("torch", "torchvision", "gpus"), ("compiled",))
"""The probes that run one after another in one process, for each process."""

FULL = (*QUICK, ("slow",))

_BEGIN = """
import importlib, json
def imported(*names):
    errors = {}
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:
            errors[name] = f"{type(error).__name__}: {error}"
    return errors
"""

_FRAME = """
found = {{}}
failed = None
try:
{body}
except BaseException as error:
    failed = f"{{type(error).__name__}}: {{error}}"
print("\\n" + json.dumps({{"probe": {name!r}, "found": found, "failed": failed}}), flush=True)
"""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The outcome of a probe.

    Attributes:
        found: What it found.
        failed: Why it stopped early, None if it ended well.
        is_late: Whether it was still running when the time was up: nothing is known then.
    """

    found: Mapping[str, Any] = field(default_factory=dict)
    failed: str | None = None
    is_late: bool = False


class Probes:
    """Probes that are running.

    Attributes:
        seconds: How long they may take.
    """

    def __init__(self, chains: Sequence[Sequence[str]], *, seconds: float) -> None:
        self.seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._processes = [(chain, _start(chain)) for chain in chains]
        self._results: dict[str, ProbeResult] = {}

    def result(self, name: str) -> ProbeResult:
        """Waits for one probe, and those in its process, and returns its result."""
        for chain, process in self._processes:
            if name in chain and name not in self._results:
                self._results.update(self._finish(chain, process))
        return self._results[name]

    def results(self) -> dict[str, ProbeResult]:
        """Waits for all probes and returns the result of each by its name."""
        return {name: self.result(name) for chain, _ in self._processes for name in chain}

    def stop(self) -> None:
        """Ends what is still running."""
        for _, process in self._processes:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def _finish(self, chain: Sequence[str], process: subprocess.Popen[str]) -> Iterator[tuple[str, ProbeResult]]:
        is_late = False
        try:
            out, errors = process.communicate(timeout=max(0.0, self._deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            out, errors = process.communicate()
            is_late = True
        finished = {answer["probe"]: answer for answer in _answers(out)}
        for name in chain:
            if name in finished:
                yield name, ProbeResult(finished[name]["found"], finished[name]["failed"])
            elif is_late:
                yield name, ProbeResult(failed=f"no answer within {self.seconds:.1f} seconds", is_late=True)
            else:
                message = errors.strip().rpartition("\n")[2] or "no message"
                yield name, ProbeResult(failed=f"the process ended with code {process.returncode}: {message}")


@contextmanager
def probing(chains: Sequence[Sequence[str]], *, seconds: float) -> Iterator[Probes]:
    """Runs probes while the block examines other things; an interrupt leaves none of them behind.

    Args:
        chains: For each process the names of its probes.
        seconds: How long they may take.
    """
    probes = Probes(chains, seconds=seconds)
    try:
        yield probes
    finally:
        probes.stop()


def _start(chain: Sequence[str]) -> subprocess.Popen[str]:
    bodies = {name: "\n".join("    " + line for line in PROBES[name].strip().splitlines()) for name in chain}
    script = _BEGIN + "".join(_FRAME.format(body=body, name=name) for name, body in bodies.items())
    # -P: a folder called `torch` in the folder the command is run in is not torch.
    return subprocess.Popen(
        [sys.executable, "-P", "-W", "ignore", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )


def _answers(out: str) -> Iterator[dict[str, Any]]:
    """Yields the answers among the lines of what a process printed; packages print as well."""
    for line in out.splitlines():
        if line.startswith('{"probe": '):
            try:
                yield json.loads(line)
            except ValueError:  # it was ended while it wrote
                continue
