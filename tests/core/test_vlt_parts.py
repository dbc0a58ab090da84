"""VLT's modules against their equations, written out plainly."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from risctl.core.blocks import ConvBlock, UpsampleBlock, freeze, upsample
from risctl.core.encoders.text.bigru import BiGRU, BiGRUEncoder
from risctl.core.encoders.text.embedding import FrozenVectors, LearnedVectors
from risctl.core.fusion.attention import MultiHeadAttention
from risctl.core.fusion.position import sinusoid, with_coordinates
from risctl.core.fusion.query_generation import PlainQueryGeneration, VisualQueries
from risctl.core.fusion.vlt_pyramid import VLTPyramid
from risctl.core.fusion.vlt_transformer import VLTTransformer
from risctl.core.heads.conv_mask import ConvMaskHead
from risctl.core.losses.mask import summed_cross_entropy
from risctl.core.losses.weight_penalty import convolution_penalty


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


def test_learned_vectors_keep_padding_at_zero() -> None:
    vectors = LearnedVectors(5, 3)
    vectors(torch.tensor([[0, 1, 4]])).sum().backward()
    assert not vectors.vectors[:2].any()
    assert vectors.vectors.grad is not None
    assert vectors.vectors.grad.any(dim=1).tolist() == [False, True, False, False, True]


def test_stride_two_pads_left_and_top_only() -> None:
    torch.manual_seed(0)
    block = ConvBlock(2, 3, kernel=3, stride=2).eval()
    x = torch.randn(1, 2, 8, 8)
    padded = torch.zeros(1, 2, 9, 9)
    padded[:, :, 1:, 1:] = x
    convolved = functional.conv2d(padded, block.conv.weight, stride=2) / math.sqrt(1 + 1e-3)
    assert torch.allclose(block(x), torch.where(convolved > 0, convolved, 0.1 * convolved), atol=1e-6)
    assert block(x).shape == (1, 3, 4, 4)
    with pytest.raises(ValueError, match="kernel"):
        ConvBlock(2, 3, kernel=5)


@pytest.mark.parametrize("size", [(1, 1), (3, 5)])
def test_upsample_block_equals_a_block_after_upsampling(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    up, plain = UpsampleBlock(3, 4).double(), ConvBlock(3, 4, kernel=3).double()
    plain.load_state_dict(up.state_dict())
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    first, second = up(x), plain(upsample(x))
    assert torch.allclose(first, second)
    first.square().sum().backward()
    second.square().sum().backward()
    assert torch.allclose(up.conv.weight.grad, plain.conv.weight.grad)


def test_frozen_parts_have_no_gradients_and_keep_their_statistics() -> None:
    block = ConvBlock(2, 3).train()
    freeze([block])
    before = block.norm.running_mean.clone()
    block(torch.randn(4, 2, 8, 8) + 5)
    assert torch.equal(block.norm.running_mean, before)
    assert not any(parameter.requires_grad for parameter in block.parameters())


def test_sinusoid_is_interleaved() -> None:
    table = sinusoid(50, 8, like=torch.zeros(1))
    for position in (0, 1, 49):
        for pair in range(4):
            angle = position / 10000 ** (2 * pair / 8)
            assert table[position, 2 * pair].item() == pytest.approx(math.sin(angle), abs=1e-5)
            assert table[position, 2 * pair + 1].item() == pytest.approx(math.cos(angle), abs=1e-5)


def test_coordinates_follow_the_map_and_its_axes() -> None:
    out = with_coordinates(torch.zeros(2, 1, 2, 3))
    assert out.shape == (2, 7, 2, 3)
    assert out[0, 1].tolist() == out[1, 3].tolist() == [[-1, 0, 1]] * 2
    assert out[0, 4].tolist() == out[1, 6].tolist() == [[-1, -1, -1], [1, 1, 1]]


@pytest.mark.parametrize("causal", [False, True])
def test_attention_with_and_without_weights_agrees(causal: bool) -> None:
    torch.manual_seed(0)
    attention = MultiHeadAttention(8, heads=2)
    x = torch.randn(2, 5, 8)
    plain, none = attention(x, x, x, causal=causal)
    shown, weights = attention(x, x, x, causal=causal, need_weights=True)
    assert none is None and weights is not None
    assert torch.allclose(plain, shown, atol=1e-6)
    assert torch.allclose(weights.sum(-1), torch.ones(2, 5))
    assert (weights.triu(1) == 0).all().item() is causal
    assert plain.min() >= 0
    with pytest.raises(ValueError, match="divisible"):
        MultiHeadAttention(9, heads=2)


@pytest.mark.parametrize("causal", [False, True])
def test_queries_attend_to_later_queries_only_without_the_causal_mask(causal: bool) -> None:
    torch.manual_seed(0)
    transformer = VLTTransformer(8, heads=2, feed_forward=16, causal=causal, projected_relu=False).eval()
    queries, memory = torch.randn(1, 4, 8), torch.randn(1, 9, 8)
    changed = queries.clone()
    changed[:, 3] += 1
    before, after = transformer.decode(queries, memory)[0], transformer.decode(changed, memory)[0]
    assert torch.allclose(before[:, :3], after[:, :3], atol=1e-6) is causal
    assert not torch.allclose(before[:, 3], after[:, 3], atol=1e-3)


def test_plain_query_generation_is_one_attention() -> None:
    torch.manual_seed(0)
    generation = PlainQueryGeneration(visual=VisualQueries(4, cells=6, queries=3, hidden=5), words=7, hidden=5).eval()
    query_features, words = torch.randn(2, 4, 2, 3), torch.randn(2, 8, 7)
    queries, weights = generation(query_features, words, need_weights=True)
    visual = generation.visual(query_features)
    scores = torch.einsum("bqc,blc->bql", generation.query(visual).relu(), generation.key(words).relu())
    expected = torch.einsum("bql,blc->bqc", scores.softmax(-1), generation.value(words).relu())
    assert torch.allclose(queries, expected, atol=1e-6)
    assert weights is not None and weights.shape == (2, 3, 8)


def test_pyramid_takes_any_backbone() -> None:
    for channels in ((3, 4, 5), (256, 512, 16)):
        pyramid = VLTPyramid(channels, sentence=6, width=8, hidden=10).eval()
        maps = [torch.randn(2, channel, 16 // scale, 16 // scale) for channel, scale in zip(channels, (1, 2, 4))]
        prepared = pyramid.prepare(maps)
        assert [tuple(one.shape[1:]) for one in prepared] == [(4, 8, 8), (8, 8, 8), (16, 4, 4)]
        fused = pyramid.join(prepared, torch.randn(2, 6))
        assert fused.fused.shape == (2, 10, 8, 8) and fused.query_features.shape == (2, 8, 8, 8)
    assert isinstance(VLTPyramid((3, 4, 16), sentence=6, width=8, hidden=10).adapt, nn.Identity)


def test_the_mask_head_outputs_half_the_input_size() -> None:
    head = ConvMaskHead(8, queries=3, grid=(2, 4)).eval()
    assert head(torch.randn(2, 3, 8)).shape == (2, 16, 32)


def test_cross_entropy_is_summed_over_pixels_and_averaged_over_the_batch() -> None:
    logits, targets = torch.tensor([[[0.0, 2.0]], [[-1.0, 1.0]]]), torch.tensor([[[1.0, 0.0]], [[0.5, 1.0]]])
    probability = logits.sigmoid()
    expected = -(targets * probability.log() + (1 - targets) * (1 - probability).log()).sum() / 2
    assert summed_cross_entropy(logits, targets).item() == pytest.approx(expected.item(), rel=1e-6)
    assert summed_cross_entropy(torch.full((1, 300, 300), 8.0).half(), torch.zeros(1, 300, 300)).isfinite()


def test_penalty_counts_convolutions_that_train() -> None:
    layers = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 1, 1), nn.Linear(4, 4), nn.BatchNorm2d(2))
    layers[1].weight.requires_grad_(False)
    penalty = convolution_penalty(layers, 0.25)
    assert penalty.item() == pytest.approx(0.25 * layers[0].weight.square().sum().item(), rel=1e-6)
    penalty.backward()
    assert torch.allclose(layers[0].weight.grad, 0.5 * layers[0].weight)
    assert layers[0].bias.grad is None
    assert convolution_penalty(nn.Linear(1, 1), 1.0).item() == 0
