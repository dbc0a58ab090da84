"""Keeps an exponential moving average (EMA) of the weights over the steps of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from risctl.training.sharding import loaded_like


class EMA:
    """The averages of every floating-point entry of a module's state: parameters and statistics of norms.

    The decay rises as (1 + n) / (10 + n) over the first updates n, so that the random initial weights lose their
    influence early.

    Attributes:
        decay: The final decay.
        tensors: The averages by name.
    """

    def __init__(self, module: nn.Module, *, decay: float) -> None:
        self.decay = decay
        self.tensors = {name: tensor.detach().clone() for name, tensor in _floating(module).items()}

    @torch.no_grad()
    def update(self, module: nn.Module, *, updates: int) -> None:
        """Averages in the weights of `module` after `updates` updates."""
        decay = min(self.decay, (1 + updates) / (10 + updates))
        for name, tensor in _floating(module).items():
            self.tensors[name].lerp_(tensor, 1 - decay)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restores the averages from `tensors`, of the same names and shapes."""
        loaded_like(tensors, self.tensors)

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Gives `module` the averages within the block, and its own weights back afterwards."""
        kept = {name: tensor.detach().clone() for name, tensor in _floating(module).items()}
        self._put(module, self.tensors)
        try:
            yield
        finally:
            self._put(module, kept)

    @staticmethod
    @torch.no_grad()
    def _put(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        for name, tensor in _floating(module).items():
            tensor.copy_(tensors[name])


def _floating(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in module.state_dict().items() if tensor.is_floating_point()}
