"""SIGTERM raises in the process that asked for it, and ends those that it forks, whenever it reaches them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

FORKS = """
import os, signal
from risctl.interrupts import Terminated, raise_on_sigterm
raise_on_sigterm()
for _ in range(300):
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(1)
    os.kill(child, signal.SIGTERM)
    assert os.waitpid(child, 0)[1] == signal.SIGTERM
try:
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()
except Terminated:
    print("terminated")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_ends_even_if_sigterm_comes_at_once() -> None:
    run = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout) == (0, "terminated\n"), run.stderr
