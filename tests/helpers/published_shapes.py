"""Writes down the shapes of a published checkpoint by name, part by part."""

from __future__ import annotations

Shapes = dict[str, tuple[int, ...]]


def linear(shapes: Shapes, name: str, inputs: int, outputs: int) -> None:
    """Add a linear layer."""
    shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outputs, inputs), (outputs,)


def norm(shapes: Shapes, name: str, channels: int) -> None:
    """Add a layer norm."""
    shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (channels,)


def attention(shapes: Shapes, prefix: str, hidden: int) -> None:
    """Add torch's multi-head attention."""
    shapes[f"{prefix}in_proj_weight"], shapes[f"{prefix}in_proj_bias"] = (3 * hidden, hidden), (3 * hidden,)
    linear(shapes, f"{prefix}out_proj", hidden, hidden)
