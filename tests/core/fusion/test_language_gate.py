"""The language gate against its equations, written with torch's own layers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from risctl.core.fusion.language_gate import LanguageGate, instance_norm

CHANNELS, WORDS, TOKENS = 8, 6, 5


def plain(gate: LanguageGate, x: Tensor, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the fused map and the attention, step by step and with all biases, as the paper has them."""
    cells = x.flatten(1, 2).transpose(1, 2)  # (B, C, N)

    def layer(name: str, values: Tensor) -> Tensor:
        part = getattr(gate, name)
        return functional.conv1d(values, part.weight[..., None], part.bias)

    seen = mask[:, None].float()
    query = functional.instance_norm(layer("query", cells))
    key, value = (layer(name, words.transpose(1, 2)) * seen for name in ("key", "value"))
    heads = [one.unflatten(1, (gate.heads, -1)) for one in (query, key, value)]
    scores = torch.einsum("bhdn,bhdl->bhnl", heads[0], heads[1]) * CHANNELS**-0.5 + (1e4 * seen[:, None] - 1e4)
    attention = scores.softmax(-1)
    mixed = torch.einsum("bhnl,bhdl->bhdn", attention, heads[2]).flatten(1, 2)
    language = functional.instance_norm(layer("out", mixed))
    fused = functional.gelu(layer("project", functional.gelu(layer("visual", cells)) * language))
    return fused.transpose(1, 2).view_as(x), attention


@pytest.mark.parametrize("heads", [1, 2])
def test_it_is_the_papers_attention(heads: int) -> None:
    torch.manual_seed(0)
    gate = LanguageGate(CHANNELS, words=WORDS, heads=heads)
    for layer in (gate.query, gate.key, gate.value, gate.out):
        torch.nn.init.normal_(layer.bias)
    x, words = torch.randn(2, 3, 4, CHANNELS), torch.randn(2, TOKENS, WORDS)
    mask = torch.arange(TOKENS) < torch.tensor([[3], [TOKENS]])
    fused, attention = gate.fuse(gate.begin(x), words, mask)
    expected, weights = plain(gate, x, words, mask)
    assert torch.allclose(attention, weights, atol=1e-5)
    assert torch.allclose(fused, expected, atol=1e-4)
    flows, opened = gate.gated(x, fused)
    hidden = functional.relu(functional.linear(fused, gate.gate[0].weight))
    assert torch.allclose(opened, torch.tanh(functional.linear(hidden, gate.gate[2].weight)), atol=1e-6)
    assert torch.allclose(flows, x + opened * fused, atol=1e-6)


def test_padded_words_are_not_read() -> None:
    torch.manual_seed(0)
    gate = LanguageGate(CHANNELS, words=WORDS)
    x, words = torch.randn(1, 3, 4, CHANNELS), torch.randn(1, TOKENS, WORDS)
    mask = torch.arange(TOKENS)[None] < 3
    fused, attention = gate.fuse(gate.begin(x), words, mask)
    assert (attention[..., 3:] == 0).all()
    alone, _ = gate.fuse(gate.begin(x), words[:, :3], mask[:, :3])
    assert torch.allclose(fused, alone, atol=1e-6)


def test_a_gate_that_starts_at_zero_changes_nothing() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 2, 2, CHANNELS)
    for zero in (True, False):
        gate = LanguageGate(CHANNELS, words=WORDS, zero_gate=zero)
        flows, opened = gate.gated(x, torch.randn_like(x))
        assert torch.equal(flows, x) == zero and bool(opened.any()) != zero


def test_a_single_cell_can_be_normalised() -> None:
    assert torch.equal(instance_norm(torch.ones(2, 1, 3)), torch.zeros(2, 1, 3))
