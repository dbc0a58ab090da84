"""STEP's parts against its printed equations: the very modules that the system is made of, filled by formula."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from comparison import Row, compare
from formula import values_of
from torch import Tensor, nn

from risctl.core.fusion.conv_gru import ConvGRU
from risctl.core.fusion.coordinates import spatial_coordinates
from risctl.core.fusion.see_through import PixelProjection, TextEmbedding, TextVector, heatmap, region_weights

Arrays = Mapping[str, np.ndarray]


def rows(case: Mapping[str, Any], arrays: Arrays, folder: Path) -> Iterator[Row]:
    """Return the comparison of every output of a case of STEP's parts, told by the parameters that it lists."""
    del folder
    weights = {
        one["name"]: torch.from_numpy(
            values_of(one["name"], one["shape"], salt=case["salt"], channels_last=case["channels_last"])
        )
        for one in case.get("parameters", [])
    }
    with torch.no_grad():
        ours = _part(weights)(weights, arrays)
    return compare(ours, case, arrays)


def coordinates(weights: Mapping[str, Tensor], arrays: Arrays) -> dict[str, np.ndarray]:
    """Return the coordinates of a map of each stored size (H, W, 8)."""
    del weights
    found = {}
    for name, stored in arrays.items():
        height, width = stored.shape[:2]
        rows, columns = torch.tensor([float(height)]), torch.tensor([float(width)])
        found[name] = spatial_coordinates(height, width, rows=rows, columns=columns)[0].permute(1, 2, 0).numpy()
    return found


def conv_gru(weights: Mapping[str, Tensor], arrays: Arrays) -> dict[str, np.ndarray]:
    """Return one step of the ConvGRU."""
    x, hidden = _given(arrays, "x")[None], _given(arrays, "h")[None]
    gru = ConvGRU(x.shape[1], hidden.shape[1])
    _fill(gru.gates, torch.cat([_beside(weights, "f"), _beside(weights, "z")]), _both(weights, "bf", "bz"))
    _fill(gru.candidate, _beside(weights, "h"), weights["bh"])
    _fill(gru.out, weights["WP"], weights["bP"])
    step = gru.compute_gates(x, hidden)
    state = gru(x, hidden, step=0, inside=torch.ones_like(x[:, :1]))
    return {
        "forget_gate": step.forget[0].numpy(),
        "update_gate": step.update[0].numpy(),
        "candidate": step.candidate[0].numpy(),
        "new_hidden": state[0].numpy(),
        "probability": _like(gru.logits(state)[0].sigmoid(), arrays["probability"]),
    }


def text_vector(weights: Mapping[str, Tensor], arrays: Arrays) -> dict[str, np.ndarray]:
    """Return the sentence vector of one step; the positions stand in a row."""
    pixels, words, probability = _positions(arrays["v"]), _given(arrays, "h")[None], _given(arrays, "P")[None, None]
    projection = PixelProjection(pixels.shape[1], attention=len(weights["bvt"]), embedding=1)
    _fill(projection.attend, weights["Wvt"][..., None, None], weights["bvt"])
    reader = TextVector(words.shape[2], len(weights["bht"]))
    _fill(reader.project, weights["Wht"], weights["bht"])
    mask = torch.ones(words.shape[:2], dtype=torch.bool)
    attention = reader.attention(projection(pixels)[0], words, mask)
    regions = region_weights(probability, torch.ones_like(probability))
    sentence, word_weights = reader(attention, regions, words)
    return {
        "region_weights": regions[0].numpy(),
        "word_attention": attention[0].T.numpy(),
        "word_weights": word_weights[0].numpy(),
        "s": sentence[0].numpy(),
    }


def see_through(weights: Mapping[str, Tensor], arrays: Arrays) -> dict[str, np.ndarray]:
    """Return the heatmap; the positions stand in a row."""
    pixels, sentence = _positions(arrays["v"]), _given(arrays, "s")[None]
    projection = PixelProjection(pixels.shape[1], attention=1, embedding=len(weights["bv"]))
    _fill(projection.embed, weights["Wv"][..., None, None], weights["bv"])
    embedding = TextEmbedding(sentence.shape[1], len(weights["bs"]))
    _fill(embedding.project, weights["Ws"], weights["bs"])
    phi, psi = projection(pixels)[1], embedding(sentence)
    return {"phi": phi[0, :, 0].T.numpy(), "psi": psi[0].numpy(), "Q": heatmap(phi, psi)[0, 0].numpy()}


def _part(weights: Mapping[str, Tensor]) -> Callable[[Mapping[str, Tensor], Arrays], dict[str, np.ndarray]]:
    for name, part in (("Rf", conv_gru), ("Wvt", text_vector), ("Wv", see_through)):
        if name in weights:
            return part
    return coordinates


def _beside(weights: Mapping[str, Tensor], gate: str) -> Tensor:
    return torch.cat([weights[f"R{gate}"], weights[f"W{gate}"]], dim=1)


def _both(weights: Mapping[str, Tensor], first: str, second: str) -> Tensor:
    return torch.cat([weights[first], weights[second]])


def _fill(layer: nn.Conv2d | nn.Linear, weight: Tensor, bias: Tensor) -> None:
    layer.load_state_dict({"weight": weight, "bias": bias})


def _given(arrays: Arrays, name: str) -> Tensor:
    return torch.from_numpy(arrays[name]).float()


def _positions(values: np.ndarray) -> Tensor:
    """Return (1, C, 1, N) of (N, C)."""
    return torch.from_numpy(values).float().T[None, :, None]


def _like(values: Tensor, stored: np.ndarray) -> np.ndarray:
    return values.reshape(stored.shape).numpy()
