"""Combines the running statistics of batch norms over processes, as if one had seen all their batches in order."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class SharedNorms:
    """The batch norms of a system whose processes see other batches.

    A batch changes the running statistics r to (1 - m) r + m s, with its own statistics s. Each process does so with
    its batch; together they become what one process would have after all these batches, in the order of the ranks, but
    for rounding. Without this the first process's alone would be kept. Norms that are frozen, or synchronised already
    (SyncBatchNorm), are left alone.

    Example:
        >>> norms.note()
        >>> loss = model(batch)
        >>> norms.combine()
    """

    def __init__(self, system: nn.Module, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._norms = [
            norm
            for norm in system.modules()
            if isinstance(norm, _BatchNorm)
            and not isinstance(norm, nn.SyncBatchNorm)
            and norm.running_mean is not None
            and norm.running_var is not None
            and norm.num_batches_tracked is not None
        ]
        self._before: tuple[Tensor, Tensor] | None = None

    def note(self) -> None:
        """Notes the statistics before a batch."""
        if self._norms:
            self._before = self._statistics(), self._counts()

    @torch.no_grad()
    def combine(self) -> None:
        """Combines the statistics after a batch. All processes must call it."""
        if self._before is None:
            return
        statistics, counts = self._before
        self._before = None
        seen = self._counts() - counts
        kept = self._kept(counts, seen)
        own = self._statistics() - kept * statistics
        shared = self._accelerator.gather(torch.cat([own, kept, seen])[None])
        combined = statistics
        for row in shared:
            added, kept, _ = row.split([len(own), len(own), len(seen)])
            combined = kept * combined + added
        self._put(combined, counts + shared[:, 2 * len(own) :].sum(0))

    def _statistics(self) -> Tensor:
        parts = [part for norm in self._norms for part in (norm.running_mean, norm.running_var)]
        return torch.cat([part.detach().double() for part in parts if part is not None])

    def _counts(self) -> Tensor:
        counts = [norm.num_batches_tracked for norm in self._norms]
        return torch.stack([count for count in counts if count is not None]).double()

    def _kept(self, counts: Tensor, seen: Tensor) -> Tensor:
        """Returns the share of each statistic that is left of what it was before the batch."""
        after = counts + seen
        shares = [
            (1.0 - norm.momentum) ** times if norm.momentum is not None else total.sub(times) / total.clamp(min=1)
            for norm, times, total in zip(self._norms, seen, after, strict=True)
        ]
        sizes = torch.tensor([2 * norm.num_features for norm in self._norms], device=counts.device)
        return torch.stack(shares).repeat_interleave(sizes)

    def _put(self, statistics: Tensor, counts: Tensor) -> None:
        place = 0
        for norm, count in zip(self._norms, counts, strict=True):
            assert norm.running_mean is not None and norm.running_var is not None
            for part in (norm.running_mean, norm.running_var):
                part.copy_(statistics[place : place + len(part)])
                place += len(part)
            assert norm.num_batches_tracked is not None
            norm.num_batches_tracked.copy_(count)
