"""What STEP makes of its heatmaps over time: a convolutional GRU, or for comparison their running mean."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """One step of the ConvGRU, each (B, F, H, W): forget gate f, update gate z, candidate, new hidden state h'."""

    forget: Tensor
    update: Tensor
    candidate: Tensor
    hidden: Tensor


class ConvGRU(nn.Module):
    """A GRU of 3x3 convolutions on heatmaps (Chen et al., ICCV 2019, as spec step.md prints it).

    f, z = sigmoid(R * h + W * x + b); candidate = tanh(R_h * (f h) + W_h * x + b_h); h' = z h + (1 - z) candidate. The
    kernels R and W of a gate are one convolution over h and x side by side.
    """

    def __init__(
        self,
        inputs: int = 1,
        filters: int = 32,
        *,
        gate_bias: float = 1.0,
        candidate_bias: float = 0.0,
        learned_start: bool = False,
    ) -> None:
        """gate_bias, candidate_bias: what the biases begin as; learned_start: h_0 is learned, a number a filter."""
        super().__init__()
        self.inputs = inputs
        self.filters = filters
        self.gates = nn.Conv2d(filters + inputs, 2 * filters, 3, padding=1)
        self.candidate = nn.Conv2d(filters + inputs, filters, 3, padding=1)
        self.out = nn.Conv2d(filters, 1, 1)
        for layer in (self.gates, self.candidate, self.out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.constant_(self.gates.bias, gate_bias)  # type: ignore[arg-type]
        nn.init.constant_(self.candidate.bias, candidate_bias)  # type: ignore[arg-type]
        self.first = nn.Parameter(torch.zeros(filters)) if learned_start else None

    def initial_state(self, x: Tensor, *, inside: Tensor) -> Tensor:
        """Return h_0 for inputs like x (B, C, H, W); zero where `inside` (B, 1, H, W) is."""
        if self.first is None:
            return x.new_zeros(x.shape[0], self.filters, *x.shape[2:])
        return self.first[:, None, None] * inside

    def compute_gates(self, x: Tensor, hidden: Tensor) -> Gates:
        """Return the step from h (B, F, H, W) with x (B, C, H, W)."""
        forget, update = self.gates(torch.cat([hidden, x], dim=1)).sigmoid().chunk(2, dim=1)
        candidate = self.candidate(torch.cat([forget * hidden, x], dim=1)).tanh()
        new = update * hidden + (1 - update) * candidate
        return Gates(forget=forget, update=update, candidate=candidate, hidden=new)

    def forward(self, x: Tensor, state: Tensor, *, step: int, inside: Tensor) -> Tensor:
        """Return the state after `step` (from 0) with x (B, C, H, W); zero where `inside` (B, 1, H, W) is."""
        del step
        return self.compute_gates(x, state).hidden * inside

    def logits(self, state: Tensor) -> Tensor:
        """Return P before its sigmoid, (B, H, W)."""
        return self.out(state)[:, 0]


class RunningMean(nn.Module):
    """The mean of the heatmaps so far, scaled and shifted: STEP without its top-down refinement."""

    inputs = 1

    def __init__(self) -> None:
        super().__init__()
        # Cosines lie within [0, 1] and are small at first; the sigmoid needs more to say anything.
        self.scale = nn.Parameter(torch.tensor(10.0))
        self.shift = nn.Parameter(torch.tensor(0.0))

    def initial_state(self, x: Tensor, *, inside: Tensor) -> Tensor:
        """Return the state before the first step, for inputs like x (B, 1, H, W)."""
        del inside
        return torch.zeros_like(x)

    def forward(self, x: Tensor, state: Tensor, *, step: int, inside: Tensor) -> Tensor:
        """Return the mean of `step` + 1 heatmaps, x (B, 1, H, W) being the last; zero where `inside` is."""
        return (state + (x - state) / (step + 1)) * inside

    def logits(self, state: Tensor) -> Tensor:
        """Return P before its sigmoid, (B, H, W)."""
        return self.scale * state[:, 0] + self.shift
