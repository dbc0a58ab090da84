"""Updates the weights once: forward, loss, backward, accumulation, clipping, optimizer."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterator

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from risctl.data.batch import Batch
from risctl.distributed import raise_together, whole_of
from risctl.systems.base import System
from risctl.training.shared_norms import SharedNorms
from risctl.training.state import TrainingError


class LossOf(nn.Module):
    """The loss terms of a system as the output of a module.

    What several processes train is this module, so that what synchronises them sees all that the loss reads, and only
    that: a loss may run parts of the system that its forward pass does not, and leave outputs of it unread.

    Attributes:
        system: The system.
    """

    def __init__(self, system: System) -> None:
        """Takes the system, whose parameters it shares."""
        super().__init__()
        self.system = system

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the named scalar loss terms of a batch."""
        return self.system.loss(self.system(batch), batch)


class TrainStep:
    """Updates the weights of a system.

    Args:
        system: The system.
        model: `LossOf` the system as accelerate prepared it; the same object on one device.
        optimizer: The optimizer as accelerate prepared it.
        accelerator: The accelerator.
        accumulate: Batches per update.
        clip_norm: The largest norm of the gradient; None: no clipping.

    Attributes:
        norm: The norm of the last update's gradient over all parameters, before clipping; not finite where fp16
            overflowed.
    """

    def __init__(
        self,
        *,
        system: System,
        model: nn.Module,
        optimizer: Optimizer,
        accelerator: Accelerator,
        accumulate: int = 1,
        clip_norm: float | None = None,
    ) -> None:
        self.system = system
        self.model = model
        self.optimizer = optimizer
        self.accelerator = accelerator
        self.accumulate = accumulate
        self.clip_norm = clip_norm
        self.norm = 0.0
        self._norms = SharedNorms(system, accelerator) if accelerator.num_processes > 1 else None
        self._parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def step(
        self, batches: Iterator[Batch], *, number: int, begin: Callable[[int], None] = lambda place: None
    ) -> dict[str, float]:
        """Updates the weights by the next `accumulate` batches; gradients are the mean over batches and processes.

        Args:
            batches: Yields batches on the CPU.
            number: The number of the update, for messages.
            begin: Called before each batch with its place among those of the update in all processes.

        Returns:
            The mean of each loss term.

        Raises:
            TrainingError: The loss is not finite; the weights are then unchanged.
        """
        sums: dict[str, float] = {}
        for turn in range(self.accumulate):
            batch = next(batches).to(self.accelerator.device)
            last = turn == self.accumulate - 1
            begin(turn * self.accelerator.num_processes + self.accelerator.process_index)
            if self._norms is not None:
                self._norms.note()
            # Gradients travel between processes once an update, with its last batch.
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.model):
                with self.accelerator.autocast():
                    terms = self.model(batch)
                total = torch.stack([term.float() for term in terms.values()]).sum()
                self._check(self._problem(total, terms, batch, number=number))
                self.accelerator.backward(total / self.accumulate)
            if self._norms is not None:
                self._norms.combine()
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + float(term.detach()) / self.accumulate
        if self.clip_norm is not None:
            norm = self.accelerator.clip_grad_norm_(self._parameters, self.clip_norm)
        else:
            self.accelerator.unscale_gradients()
            norm = nn.utils.get_total_norm([one.grad for one in self._parameters if one.grad is not None])
        self.norm = float(whole_of(norm))
        self.optimizer.step()
        self.optimizer.zero_grad()
        return sums

    def _check(self, problem: TrainingError | None) -> None:
        """Raises `problem` or that of another process: one that left alone would leave the others waiting for it."""
        if self.accelerator.num_processes > 1:
            flag = torch.tensor([float(problem is not None)], device=self.accelerator.device)
            if float(self.accelerator.reduce(flag, reduction="sum")) > 0:
                raise_together(problem)
        elif problem is not None:
            raise problem

    def _problem(self, total: Tensor, terms: dict[str, Tensor], batch: Batch, *, number: int) -> TrainingError | None:
        if math.isfinite(float(total.detach())):
            return None
        values = json.dumps({name: str(float(term.detach())) for name, term in terms.items()})
        sentences = [identity.sentence_id for identity in batch.ids if identity is not None]
        shown = ", ".join(str(sentence) for sentence in sentences[:8]) + (", …" if len(sentences) > 8 else "")
        return TrainingError(
            f"the loss is not finite at step {number}: {values} (sentence ids {shown}). Try a smaller optim.lr, "
            f"a longer optim.warmup_steps, optim.clip_norm=1.0 or train.precision=fp32"
        )
