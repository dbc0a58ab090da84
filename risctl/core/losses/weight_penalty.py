"""The L2 penalty of convolution kernels, as Keras's kernel regulariser."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from risctl.distributed import local_of, whole_of


def convolution_penalty(module: nn.Module, factor: float) -> Tensor:
    """Returns `factor` times the sum of squares of all trained convolution kernels of `module`.

    The reference also adds frozen kernels: a constant, which changes no gradient and would cost a pass over 50 M
    weights per step. The penalty is a term of the loss, not the optimiser's weight decay, so that Adam rescales its
    gradient with the rest.
    """
    kernels = [
        layer.weight.float()
        for layer in module.modules()
        if isinstance(layer, nn.Conv2d) and layer.weight.requires_grad
    ]
    if not kernels:
        return torch.zeros(())
    squares = [kernel.square().sum() for kernel in kernels]
    # Of kernels that are divided among processes the sum is, too; it goes around once.
    plain = [one for one in squares if local_of(one) is one]
    divided = [one for one in squares if local_of(one) is not one]
    sums = [whole_of(torch.stack(some).sum()) for some in (plain, divided) if some]
    return factor * (sums[0] if len(sums) == 1 else sums[0] + sums[1])
