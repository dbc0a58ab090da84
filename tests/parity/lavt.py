"""LAVT against the published code: its names through the importer, to maps, masks, losses, gradients and token ids."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from comparison import Row, compare
from formula import values_of
from torch import Tensor

from risctl.core.fusion.language_gate import LanguageGate
from risctl.core.losses.mask import weighted_cross_entropy
from risctl.data.transforms.preprocess import SquarePreprocess
from risctl.language.vocabulary import Vocabulary
from risctl.language.wordpiece import wordpiece
from risctl.systems.lavt.build import build_lavt
from risctl.systems.lavt.config import LAVTModel
from risctl.systems.lavt.decoder import upsampled
from risctl.systems.lavt.model import LAVT
from risctl.systems.lavt.published import PublishedLAVT, lavt_model, lavt_state, our_name
from risctl.vision.resize import Square

TEXT = "text_encoder."
WORDS = 2
"""Ids of our vocabulary that are no words."""


def rows(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], folder: Path) -> Iterator[Row]:
    """Yield the comparison of every output of a LAVT case."""
    if case["kind"] == "tokens":
        yield from _tokens(case)
    elif case["kind"] == "text_forward":
        yield from compare(text_forward(case, arrays, folder), case, arrays)
    else:
        yield from _compared(model_forward(build(case, folder), case, arrays), case, arrays)


def published_of(case: Mapping[str, Any]) -> PublishedLAVT:
    """Return the published checkpoint of a case, every parameter by formula."""

    def tensors(key: str, prefix: str) -> dict[str, Tensor]:
        return {
            prefix + entry["name"]: torch.zeros(entry["shape"], dtype=torch.int64)
            if entry.get("integer")
            else torch.from_numpy(
                values_of(entry["name"], entry["shape"], salt=case["salt"], channels_last=case["channels_last"])
            )
            for entry in case.get(key, [])
        }

    state = tensors("parameters", "")
    one = any(name.startswith(TEXT) for name in state)
    heads = [int(part) for part in re.findall(r"\d+", str(case["options"].get("mha") or ""))]
    return PublishedLAVT(state=state | tensors("bert_parameters", TEXT), one=one, heads=tuple(heads) if heads else None)


def build(case: Mapping[str, Any], folder: Path) -> LAVT:
    """Return our model of a case, filled through the importer with the case's weights."""
    published = published_of(case)
    section = lavt_model(published, source=folder)
    section["max_words"] = case["options"]["words"]
    words = published.state[f"{TEXT}embeddings.word_embeddings.weight"].shape[0]
    vocabulary = Vocabulary(f"token{number}" for number in range(words - WORDS))
    system = build_lavt(LAVTModel.model_validate(section), vocabulary, None, False)
    system.load_state_dict(lavt_state(published, system.state_dict(), source=folder))
    return system.eval()


def model_forward(system: LAVT, case: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what the case lists, by the public parts of the system and hooks on its modules."""
    height, width = case["options"]["size_height_width"]
    count = arrays["token_ids"].shape[0]
    images, targets = [], []
    for number in range(count):
        image = arrays[f"image{number}"]
        square = Square(
            height=image.shape[0],
            width=image.shape[1],
            inner_height=height,
            inner_width=width,
            input_height=height,
            input_width=width,
        )
        images.append(square.image(image))
        targets.append(square.mask(arrays[f"target{number}"] > 0))
    seen = _watched(system)
    ids, mask = torch.from_numpy(arrays["token_ids"]).long(), torch.from_numpy(arrays["attention_mask"]) > 0
    batch, target = torch.stack(images), torch.stack(targets)
    # The published code reads all positions, and so does the case; the system leaves out what no expression reaches.
    text = system.text(ids, mask)
    output = system.decode(system.encode_image(batch, torch.zeros(count, height, width, dtype=torch.bool)), text)
    low = seen["decoder"]
    logits = upsampled(low, (height, width))
    loss = weighted_cross_entropy(output.logits, target, weights=tuple(case["options"]["class_weights"]))
    mean, deviation = (getattr(system.visual.backbone, name) for name in ("mean", "deviation"))
    found = {
        "image": (batch - mean) / deviation,
        "target": target,
        "words": text.words,
        "logits_low": low,
        "logits": logits,
        "loss": loss,
        "mask_packed": np.packbits((output.logits > 0).flatten(1).numpy(), axis=1),
    }
    for number, gate in enumerate(system.visual.gates, start=1):
        assert isinstance(gate, LanguageGate)
        fused, x = seen[f"fused{number}"], seen[f"stage{number}"]
        found[f"stage{number}"] = system.visual.norms[number - 1](fused).permute(0, 3, 1, 2)
        found[f"gated{number}"] = gate.gated(x, fused)[0].flatten(1, 2)
    outputs = {name: _strided(value, case["outputs"].get(name, "")) for name, value in found.items()}
    return outputs | dict(_gradients(system, loss, case, arrays))


def text_forward(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], folder: Path) -> dict[str, np.ndarray]:
    """Return what a case of the text encoder alone lists."""
    from risctl.core.encoders.text.bert import BertEncoder

    options = case["options"]
    names = ("layers", "width", "heads", "vocabulary", "positions")
    encoder = BertEncoder(feed_forward=options["feedforward"], **{name: options[name] for name in names}).eval()
    state = {f"bert.{name.removeprefix(TEXT)}": value for name, value in published_of(case).state.items()}
    encoder.load_state_dict(state)
    del folder
    seen: dict[str, Any] = {}
    encoder.bert.embeddings.register_forward_hook(lambda _m, _i, output: seen.__setitem__("embeddings", output))
    for number, layer in enumerate(encoder.bert.encoder.layer):
        layer.register_forward_hook(lambda _m, _i, output, name=f"layer{number}": seen.__setitem__(name, output))
    mask = torch.from_numpy(arrays["attention_mask"]) > 0
    with torch.no_grad():
        words = encoder(torch.from_numpy(arrays["token_ids"]).long(), mask).words
    plain = {name: value[0] if isinstance(value, tuple) else value for name, value in seen.items()}
    return {name: _strided(value, case["outputs"].get(name, "")) for name, value in (plain | {"words": words}).items()}


def _tokens(case: Mapping[str, Any]) -> Iterator[Row]:
    options, outputs = case["options"], case["outputs"]
    limit = options["max_tokens"]
    vocabulary = wordpiece(options["vocabulary"], source="the case")
    ours = SquarePreprocess(size=32, max_words=limit, vocabulary=vocabulary)
    names = ("all_ids", "token_ids", "attention_mask")
    wrong = dict.fromkeys(names, 0)
    for number, sentence in enumerate(case["inputs"]["sentences"]):
        if sentence.strip():
            every = vocabulary.encode(sentence, max_words=10_000)[0].tolist()
            ids, mask = (part.long().tolist() for part in ours.text(sentence))
        else:  # the published code reads an empty sentence as two tokens; here it is refused, with one line
            start, end = (vocabulary.words.index(token) for token in ("[CLS]", "[SEP]"))
            every = [start, end]
            ids, mask = every + [0] * (limit - 2), [1, 1] + [0] * (limit - 2)
        for name, value in zip(names, (every, ids, mask), strict=True):
            wrong[name] += value != outputs[name][number]
    for name in outputs:
        yield name, float(wrong.get(name, float("inf"))), 0.0


def _watched(system: LAVT) -> dict[str, Tensor]:
    """Return what hooks collect: the map of each stage, the fused map, and the decoder's logits."""
    seen: dict[str, Tensor] = {}
    system.decoder.register_forward_hook(lambda _m, _i, output: seen.__setitem__("decoder", output))
    for number, (stage, norm) in enumerate(zip(system.visual.backbone.stages, system.visual.norms, strict=True), 1):
        stage.register_forward_hook(lambda _m, _i, output, name=f"stage{number}": seen.__setitem__(name, output[:, 0]))
        norm.register_forward_pre_hook(lambda _m, inputs, name=f"fused{number}": seen.__setitem__(name, inputs[0]))
    return seen


def _gradients(
    system: LAVT, loss: Tensor, case: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, np.ndarray]]:
    names = case["options"].get("gradients", [])
    if not names:
        return
    loss.backward()
    parameters = dict(system.named_parameters())
    for name in names:
        published = f"{TEXT}{name.removeprefix('bert:')}" if name.startswith("bert:") else name
        parameter = parameters[our_name(published) or ""]
        # Biases that the norms and the softmax cancel, and the last gate, have none here and zeros there.
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        if published.endswith("word_embeddings.weight"):
            gradient = gradient[torch.from_numpy(np.unique(arrays["token_ids"])).long()]
        flat = gradient.flatten()
        yield f"gradient {name}", flat[:: -(-flat.numel() // 200)].numpy()


def _strided(value: Any, described: str) -> np.ndarray:
    """Return `value` with the strides that its line in the case names, such as "[:, ::2, ::16]"."""
    array = value.detach().numpy() if isinstance(value, Tensor) else np.asarray(value)
    match = re.search(r"\[((?::{1,2}\d*(?:, )?)+)\]", described)
    if match is None:
        return array
    steps = tuple(slice(None, None, int(part.strip(":") or 1)) for part in match[1].split(", "))
    return array[steps]


def _compared(ours: Mapping[str, Any], case: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Iterator[Row]:
    exact = {name: one for name, one in case["tolerances"].items() if "max_abs_difference" not in one}
    rest = {**case, "outputs": {name: line for name, line in case["outputs"].items() if name not in exact}}
    yield from compare(ours, rest, arrays)
    for name, tolerance in exact.items():
        mine, stored = np.asarray(ours[name]), arrays[name]
        if name.endswith("_packed"):
            mine, stored = np.unpackbits(mine, axis=1), np.unpackbits(stored, axis=1)
        same = mine.shape == stored.shape
        yield name, float(np.count_nonzero(mine != stored)) if same else float("inf"), tolerance["max_differing"]
