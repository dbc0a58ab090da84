"""VLT's text encoder against its equations."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from risctl.core.encoders.text.bigru import BiGRU, BiGRUEncoder
from risctl.core.encoders.text.embedding import FrozenVectors


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_gru_applies_the_reset_gate_before_the_product_and_sums_both_directions() -> None:
    torch.manual_seed(0)
    gru = BiGRU(3, 4).double()
    nn.init.normal_(gru.bias)
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    expected = np.zeros((2, 5, 4))
    for direction in range(2):
        kernel, recurrent, bias = (one[direction].detach().numpy() for one in (gru.kernel, gru.recurrent, gru.bias))
        for row in range(2):
            state = np.zeros(4)
            for step in range(5) if direction == 0 else range(4, -1, -1):
                given = x[row, step].numpy() @ kernel + bias
                update = sigmoid(given[:4] + state @ recurrent[:, :4])
                reset = sigmoid(given[4:8] + state @ recurrent[:, 4:8])
                new = np.tanh(given[8:] + (reset * state) @ recurrent[:, 8:])
                state = update * state + (1 - update) * new
                expected[row, step] += state
    assert np.allclose(gru(x).detach().numpy(), expected)


def test_sentence_is_a_sum_of_words_weighed_for_each_channel() -> None:
    torch.manual_seed(0)
    encoder = BiGRUEncoder(embedding=FrozenVectors(torch.randn(6, 3)), dim=3, hidden=4).eval()
    ids = torch.tensor([[2, 3, 0]])
    text = encoder(ids, ids > 0)
    scores = encoder.attention(text.words).tanh()
    weights = scores.exp() / scores.exp().sum(dim=1, keepdim=True)
    assert torch.allclose(text.sentence, (weights * text.words).sum(dim=1), atol=1e-6)
    assert text.words.shape == (1, 3, 4)


def test_input_dropout_is_the_same_at_every_step_and_differs_by_direction() -> None:
    torch.manual_seed(0)
    gru = BiGRU(200, 200, dropout=0.5).train()
    with torch.no_grad():
        # Nothing recurs and only the new state's product is left, of which the input can be read off.
        gru.kernel.zero_()
        gru.recurrent.zero_()
        gru.kernel[0, :, 400:] = torch.eye(200)
        out = gru(torch.full((1, 4, 200), 0.01))
        kept = (out[0] > 0).float()
        assert 0.3 < kept.mean() < 0.7
        assert (kept == kept[:1]).all()
        gru.kernel[1, :, 400:] = -torch.eye(200)
        assert gru(torch.full((1, 5, 200), 0.01))[0, 2].abs().max() > 1e-4, "equal masks would cancel in the middle"
        gru.eval()
        assert gru(torch.full((1, 5, 200), 0.01))[0, 2].abs().max() < 1e-6
