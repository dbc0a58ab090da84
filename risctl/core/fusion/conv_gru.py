"""STEP's refinement of heatmaps over time: a convolutional GRU, or for ablation a simpler recurrence."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """The gates of one ConvGRU step, each (B, F, H, W).

    Attributes:
        forget: Forget gate f.
        update: Update gate z.
        candidate: Candidate state.
        hidden: New hidden state h'.
    """

    forget: Tensor
    update: Tensor
    candidate: Tensor
    hidden: Tensor


class ConvGRU(nn.Module):
    """A GRU of 3x3 convolutions on heatmaps (Chen et al., ICCV 2019).

    f, z = sigmoid(R * h + W * x + b); candidate = tanh(R_h * (f h) + W_h * x + b_h); h' = z h + (1 - z) candidate. The
    kernels R and W of a gate are one convolution over h and x, concatenated.
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
        """Builds the cell.

        Args:
            inputs: Channels of the heatmaps.
            filters: Channels F of the hidden state.
            gate_bias: Initial bias of the gates.
            candidate_bias: Initial bias of the candidate.
            learned_start: Whether h_0 is learned, one number per filter, instead of zero.
        """
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
        """Returns h_0 (B, F, H, W).

        Args:
            x: The first input (B, C, H, W).
            inside: (B, 1, H, W), 1 inside the image and 0 in the padding.
        """
        if self.first is None:
            return x.new_zeros(x.shape[0], self.filters, *x.shape[2:])
        return self.first[:, None, None] * inside

    def compute_gates(self, x: Tensor, hidden: Tensor) -> Gates:
        """Returns the gates and new state of a step.

        Args:
            x: The input (B, C, H, W).
            hidden: The state h (B, F, H, W).
        """
        forget, update = self.gates(torch.cat([hidden, x], dim=1)).sigmoid().chunk(2, dim=1)
        candidate = self.candidate(torch.cat([forget * hidden, x], dim=1)).tanh()
        new = update * hidden + (1 - update) * candidate
        return Gates(forget=forget, update=update, candidate=candidate, hidden=new)

    def forward(self, x: Tensor, state: Tensor, *, step: int, inside: Tensor) -> Tensor:
        """Returns the state after a step, (B, F, H, W), zero in the padding.

        Args:
            x: The input (B, C, H, W).
            state: The state before the step, (B, F, H, W).
            step: The step's number from 0; not used.
            inside: (B, 1, H, W), 1 inside the image and 0 in the padding.
        """
        del step
        return self.compute_gates(x, state).hidden * inside

    def logits(self, state: Tensor) -> Tensor:
        """Returns the mask logits (B, H, W) of a state."""
        return self.out(state)[:, 0]


class ConvRNN(nn.Module):
    """A recurrence of 3x3 convolutions without gates: h' = tanh(W * [h, x] + b). A ConvGRU whose gates are left out."""

    def __init__(self, inputs: int = 1, filters: int = 32) -> None:
        """Builds the cell.

        Args:
            inputs: Channels of the heatmaps.
            filters: Channels F of the hidden state.
        """
        super().__init__()
        self.inputs = inputs
        self.filters = filters
        self.candidate = nn.Conv2d(filters + inputs, filters, 3, padding=1)
        self.out = nn.Conv2d(filters, 1, 1)
        for layer in (self.candidate, self.out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def initial_state(self, x: Tensor, *, inside: Tensor) -> Tensor:
        """Returns h_0, zeros (B, F, H, W), for a first input x (B, C, H, W)."""
        del inside
        return x.new_zeros(x.shape[0], self.filters, *x.shape[2:])

    def forward(self, x: Tensor, state: Tensor, *, step: int, inside: Tensor) -> Tensor:
        """Returns the state after a step. See `ConvGRU.forward`."""
        del step
        return self.candidate(torch.cat([state, x], dim=1)).tanh() * inside

    def logits(self, state: Tensor) -> Tensor:
        """Returns the mask logits (B, H, W) of a state."""
        return self.out(state)[:, 0]


class RunningMean(nn.Module):
    """The mean of the heatmaps so far, scaled and shifted: STEP without its ConvGRU."""

    inputs = 1

    def __init__(self) -> None:
        super().__init__()
        # Cosines lie in [0, 1] and are small at first; unscaled, the sigmoid would stay near 0.5.
        self.scale = nn.Parameter(torch.tensor(10.0))
        self.shift = nn.Parameter(torch.tensor(0.0))

    def initial_state(self, x: Tensor, *, inside: Tensor) -> Tensor:
        """Returns the state before the first step, zeros of the shape of x (B, 1, H, W)."""
        del inside
        return torch.zeros_like(x)

    def forward(self, x: Tensor, state: Tensor, *, step: int, inside: Tensor) -> Tensor:
        """Returns the mean of the first `step` + 1 heatmaps, (B, 1, H, W), zero in the padding.

        Args:
            x: The newest heatmap (B, 1, H, W).
            state: The mean of the heatmaps before.
            step: The number of heatmaps before.
            inside: (B, 1, H, W), 1 inside the image and 0 in the padding.
        """
        return (state + (x - state) / (step + 1)) * inside

    def logits(self, state: Tensor) -> Tensor:
        """Returns the mask logits (B, H, W) of a state."""
        return self.scale * state[:, 0] + self.shift
