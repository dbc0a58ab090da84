"""Says in one line that a device is gone, or another process of the run with its own."""

from __future__ import annotations

import torch

from risctl.distributed import TOLD_BY_ANOTHER
from risctl.errors import MachineError

_DEVICE = ("CUDA error", "HIP error", "MPS backend", "CUDA driver")
_MEMORY = ("out of memory",)
# As gloo and NCCL say that a peer has left.
_PEER = (
    "closed by peer",
    "reset by peer",
    "Broken pipe",
    "remote process exited",
    "NCCL error",
    "Socket Timeout",
    "timed out connecting",
)


def lost_device(error: RuntimeError, *, saved: str) -> MachineError | None:
    """Returns the error to show where a device, or a process of the run, is gone; None for another error.

    A process that ends because another has left says nothing: that one does, or the launcher, where it was killed.

    Args:
        error: What torch raised.
        saved: How the run goes on.
    """
    text = str(error).strip()
    first = text.splitlines()[0] if text else type(error).__name__
    if any(one in text.lower() for one in _MEMORY):
        return MachineError(f"no memory left on the device ({first:.200}); set a smaller data.batch_size; {saved}")
    if isinstance(error, getattr(torch, "AcceleratorError", ())) or text.startswith(_DEVICE):
        return MachineError(f"the device is gone or in error ({first:.200}); {saved}")
    if any(one in text for one in _PEER):
        lost = MachineError(f"another process of the run has ended; {saved}")
        setattr(lost, TOLD_BY_ANOTHER, True)
        return lost
    return None
