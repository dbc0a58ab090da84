"""Trains the trials of a sweep, some at a time, each in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from risctl.errors import MachineError, RisctlError, UsageError
from risctl.training.run_record import read_result
from risctl.training.sweep import Sweep, Trial

_POLL = 0.2
_LOOK = 1.0  # seconds between looks at what a training has recorded


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEnd:
    """How a trial ended.

    Attributes:
        trial: The trial.
        code: The exit code of its training; 0 if it had ended before.
        message: The last line that a failed training wrote, without "error: ".
        before: Whether it had ended before this sweep was started.
        pruned: Whether it was stopped because others were better at that point.
    """

    trial: Trial
    code: int
    message: str = ""
    before: bool = False
    pruned: bool = False


class SweepRunner:
    """Trains what is left of a sweep.

    A trial that another process is training is waited for, so that a sweep whose process was killed, and whose
    trainings live on, can be started again at once.

    Args:
        sweep: The sweep, begun.
        jobs: How many trials are trained at a time.
        device: The device, by name.
        ended: Called with each trial that has ended, one call at a time.
        waiting: Called with a trial that another process is training.
    """

    def __init__(
        self,
        sweep: Sweep,
        *,
        jobs: int,
        device: str,
        ended: Callable[[TrialEnd], None],
        waiting: Callable[[Trial], None] = lambda trial: None,
    ) -> None:
        self.sweep = sweep
        self.jobs = jobs
        self.device = device
        self._ended = ended
        self._waiting = waiting
        self._slots = list(range(jobs))
        self._children: dict[int, subprocess.Popen[str]] = {}
        self._guard = threading.Lock()
        self._stopping = threading.Event()

    def run(self) -> list[TrialEnd]:
        """Trains all trials that have not ended.

        Returns:
            How each trial ended, in their order.

        Raises:
            KeyboardInterrupt: After Ctrl-C, or `Terminated` after SIGTERM, when all trainings have saved and ended.
            RisctlError: A trial's folder cannot be read.
        """
        environments = environments_of(self.jobs, device=self.device)
        (self.sweep.path / "logs").mkdir(exist_ok=True)
        with ThreadPoolExecutor(self.jobs) as pool:
            futures = [pool.submit(self._trial, trial, environments) for trial in self.sweep.trials()]
            wait_for(futures, stop=self._stop)
            return [end for future in futures if (end := future.result()) is not None]

    def _stop(self) -> None:
        """Tells all trainings to save and end, and begins no other."""
        self._stopping.set()
        with self._guard:
            for child in self._children.values():
                child.send_signal(signal.SIGTERM)

    def _trial(self, trial: Trial, environments: Sequence[Mapping[str, str]]) -> TrialEnd | None:
        """Trains one trial; None if the sweep was stopped before."""
        if self._wait(trial):
            end = TrialEnd(trial=trial, code=0, before=True)
        elif self._stopping.is_set():
            return None
        else:
            with self._guard:
                slot = self._slots.pop()
            try:
                end = self._trained(trial, environments[slot])
            finally:
                with self._guard:
                    self._slots.append(slot)
        with self._guard:
            self._ended(end)
        return end

    def _wait(self, trial: Trial) -> bool:
        """Waits until no other process trains the trial, and returns whether it has ended."""
        told = False
        while not self._stopping.is_set():
            busy = _is_busy(trial.run)
            if not busy:
                return read_result(trial.run) is not None
            if not told:
                told = True
                with self._guard:
                    self._waiting(trial)
            self._stopping.wait(1.0)
        return False

    def _trained(
        self, trial: Trial, environment: Mapping[str, str], *, is_lost: Callable[[], bool] | None = None
    ) -> TrialEnd:
        """Trains one trial, which is told to stop once `is_lost`."""
        log = self.sweep.path / "logs" / f"{trial.run.name}.txt"
        command = [sys.executable, "-m", "risctl", *self.sweep.command(trial, device=self.device)]
        try:
            with log.open("w+", encoding="utf-8", errors="replace") as file:
                with self._guard:
                    if self._stopping.is_set():
                        return TrialEnd(trial=trial, code=130)
                    # In a session of its own, so that Ctrl-C reaches the sweep alone, which tells each training once.
                    child = subprocess.Popen(
                        command,
                        env={**os.environ, **environment},
                        stdin=subprocess.DEVNULL,
                        stdout=file,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                        text=True,
                    )
                    self._children[trial.number] = child
                lost = False
                while is_lost is not None and not lost and child.poll() is None:
                    time.sleep(_LOOK)
                    lost = is_lost()
                if lost:
                    child.send_signal(signal.SIGTERM)
                code = child.wait()
                with self._guard:
                    del self._children[trial.number]
        except OSError as error:
            raise MachineError(f"{error.strerror or error}: {log}") from error
        # A process that a signal killed has the signal's negative number; a shell would say 128 more than it.
        code = 128 - code if code < 0 else code
        if lost and code == 128 + signal.SIGTERM:
            return TrialEnd(trial=trial, code=0, pruned=True)
        return TrialEnd(trial=trial, code=code, message="" if code == 0 else _last_line(log))


def wait_for(futures: Sequence[Future[Any]], *, stop: Callable[[], None]) -> None:
    """Waits until all work is done or some has failed, and then, or at a signal, tells the rest to stop.

    Raises:
        KeyboardInterrupt: After Ctrl-C, or `Terminated` after SIGTERM.
    """
    try:
        while not all(future.done() for future in futures):
            time.sleep(_POLL)
            if any(future.done() and future.exception() for future in futures):
                break
    except KeyboardInterrupt:
        stop()
        raise
    if any(future.done() and future.exception() for future in futures):
        stop()


def _is_busy(run: Path) -> bool:
    """Returns whether another process is training in the run folder."""
    from risctl.training.run_folder import RunFolder

    if not run.is_dir():
        return False
    try:
        with RunFolder(run).locked():
            return False
    except UsageError:
        return True
    except RisctlError:
        return False  # the training itself will say what is wrong


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("error: ")] or lines[-1:]
    return told[-1].removeprefix("error: ")[:500] if told else f"nothing was said; see {log}"


def environments_of(jobs: int, *, device: str) -> list[dict[str, str]]:
    """Returns what each of `jobs` trainings at a time finds in its environment.

    On a CPU they share the cores; of several GPUs each gets one.
    """
    if jobs == 1:
        return [{}]
    gpus: list[str] = []
    if device in ("auto", "cuda"):
        import torch

        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        count = torch.cuda.device_count()
        gpus = visible.split(",")[:count] if visible else [str(index) for index in range(count)]
    if gpus:
        return [{"CUDA_VISIBLE_DEVICES": gpus[job % len(gpus)]} for job in range(jobs)]
    if "OMP_NUM_THREADS" in os.environ:
        return [{} for _ in range(jobs)]
    return [{"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs))} for _ in range(jobs)]
