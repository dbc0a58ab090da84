"""VLT against the published Keras code: an h5 with the published names, through the importer, to logits and loss."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from comparison import Row, compare
from formula import values_of
from torch import Tensor, nn

from risctl.core.encoders.load_weights import load_state
from risctl.core.losses.mask import summed_cross_entropy
from risctl.language.vocabulary import Vocabulary
from risctl.systems.registry import build_system
from risctl.systems.vlt.config import VLTModel
from risctl.systems.vlt.published import vlt_model, vlt_state
from risctl.weights.keras_h5 import read_keras_weights


def rows(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], folder: Path) -> Iterator[Row]:
    """Return the comparison of every output of a VLT case."""
    del folder
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "published.h5"
        write_h5(path, case)
        published = read_keras_weights(path)
    options = case["options"]
    section = vlt_model(published, source=path) | {"max_words": options["words"], "heads": options["heads"]}
    model = VLTModel.model_validate(section)
    words = torch.from_numpy(arrays["words"])
    system = build_system(
        model,
        vocabulary=Vocabulary(f"word{n}" for n in range(len(words))),
        vectors=np.concatenate([np.zeros((2, words.shape[1]), np.float32), arrays["words"]]),
    )
    state = vlt_state(published, source=path)
    load_state(system, state | {"text.embedding.vectors": system.state_dict()["text.embedding.vectors"]}, source="h5")
    return compare(forward(system.eval(), case, arrays), case, arrays)


@torch.no_grad()
def forward(system: nn.Module, case: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what the case lists, in its layouts, by the public parts of the system and hooks on its modules."""
    seen: dict[str, Any] = {}

    def keep(name: str, module: nn.Module) -> None:
        module.register_forward_hook(lambda _module, _inputs, output: seen.__setitem__(name, output))

    keep("visual", system.visual)
    keep("fused", system.pyramid.fuse)
    keep("queries", system.queries)
    keep("memory", system.transformer.encoder[-1])
    keep("decoded", system.transformer.decoder[-1])
    image = torch.from_numpy(arrays["image"]).permute(2, 0, 1)[None].float() / 255
    count = arrays["words"].shape[0]
    ids = torch.arange(2, count + 2)[None]
    visual = system.encode_image(image, torch.zeros(1, *image.shape[2:], dtype=torch.bool))
    text = system.encode_text(ids, torch.arange(count)[None] < case["options"].get("filled_words", count))
    output = system.decode(visual, text)
    side = output.logits.shape[1]
    target = torch.from_numpy(np.unpackbits(arrays["mask_packed"])[: side * side].reshape(1, side, side)).float()
    return {
        "visual_top": _last(seen["visual"].maps[2])[:, :, ::8],
        "word_features": text.words[0].numpy(),
        "sentence_feature": text.sentence[0].numpy(),
        "fused_features": _last(seen["fused"])[:, :, ::4],
        "query_features": seen["queries"][0][0].numpy(),
        "encoder_memory": seen["memory"][0, :, ::4].numpy(),
        "decoder_output": seen["decoded"][0][0].numpy(),
        "confidences": output.maps["confidences"][0].numpy(),
        "logits": output.logits[0].numpy(),
        "loss": summed_cross_entropy(output.logits, target).numpy(),
    }


def write_h5(path: Path, case: Mapping[str, Any]) -> None:
    """Write the weights-only h5 that Keras would have, every parameter by formula."""
    layers: dict[str, list[str]] = {}
    with h5py.File(path, "w") as file:
        for parameter in case["parameters"]:
            layer, name = parameter["name"].split("/", 1)
            layers.setdefault(layer, []).append(name)
            file.create_dataset(
                parameter["name"],
                data=values_of(
                    parameter["name"], parameter["shape"], salt=case["salt"], channels_last=case["channels_last"]
                ),
            )
        for layer, names in layers.items():
            file[layer].attrs["weight_names"] = [name.encode() for name in names]
        file.attrs["layer_names"] = [layer.encode() for layer in layers]


def _last(maps: Tensor) -> np.ndarray:
    return maps[0].permute(1, 2, 0).numpy()
