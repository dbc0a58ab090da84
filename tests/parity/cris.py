"""CRIS against the published code: a .pth with its names, through the importer's reader, to losses and gradients."""

from __future__ import annotations

import math
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from comparison import Row, compare
from formula import values_of
from torch import Tensor, nn
from torch.nn import functional

from risctl.core.encoders.clip_weights import text_state
from risctl.core.encoders.load_weights import load_state
from risctl.language.clip_vocabulary import ClipVocabulary
from risctl.language.vocabulary import Vocabulary
from risctl.systems.cris.config import CRISModel
from risctl.systems.cris.model import CRIS
from risctl.systems.cris.published import cris_model, cris_state, our_name, read_cris
from risctl.systems.registry import build_system
from risctl.vision.affine_letterbox import AffineLetterbox

_SAMPLES = 200


def rows(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], folder: Path) -> Iterator[Row]:
    """Return the comparison of every output of a CRIS case, whatever its kind."""
    if case["kind"] == "tokens":
        yield from _tokens(case, folder)
        return
    found = _warps(case, arrays) if case["kind"] == "image" else _forward(_system(case), case, arrays)
    counted = {name for name, one in case["tolerances"].items() if "max_differing" in one}
    plain = {name: line for name, line in case["outputs"].items() if name not in counted}
    shaped = {name: _like(value, np.shape(arrays.get(name, ()))) for name, value in found.items()}
    yield from compare(shaped, {**case, "outputs": plain}, arrays)
    for name in counted:
        bits = np.unpackbits(np.asarray(arrays[name]), axis=-1)
        ours = _like(found[name], bits.shape)
        wrong = float((ours != bits).sum()) if ours.shape == bits.shape else float("inf")
        yield name, wrong, float(case["tolerances"][name]["max_differing"])


def _tokens(case: Mapping[str, Any], folder: Path) -> Iterator[Row]:
    merges = Path("data", "tokenizers", "bpe_simple_vocab_16e6.txt.gz")
    beside = (Path(os.environ.get("RISCTL_SHARED", Path(__file__).parents[3] / "shared")), *folder.resolve().parents)
    shared = next((one for one in beside if (one / merges).is_file()), beside[0])
    vocabulary = ClipVocabulary.load(str(shared / merges))
    for name, expected in case["outputs"].items():
        length = int(name.removeprefix("ids_"))
        found = [vocabulary.ids(text, max_words=length) for text in case["inputs"]["sentences"]]
        padded = [ids + [0] * (length - len(ids)) for ids in found]
        yield name, float(sum(ours != theirs for ours, theirs in zip(padded, expected, strict=True))), 0.0


def _warps(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    options, found = case["options"], {}
    for number in range(len(options["sizes_height_width"])):
        image, mask = arrays[f"image{number}"], arrays[f"mask{number}"] > 0
        box = AffineLetterbox(height=image.shape[0], width=image.shape[1], size=options["input_size"])
        probability = box.resized(torch.from_numpy(arrays[f"logits{number}"]).sigmoid())
        restored = box.restored(probability)[0].numpy()
        predicted = restored > options["threshold"]
        overlap, union = int((predicted & mask).sum()), int((predicted | mask).sum())
        matrix, inverse = box.matrices()
        found |= {
            f"matrix{number}": matrix,
            f"inverse{number}": inverse,
            f"warped_image{number}": box.image(image),
            f"warped_mask{number}": box.mask(mask),
            f"probability{number}": probability,
            f"restored{number}": restored,
            f"prediction_packed{number}": np.unpackbits(np.packbits(predicted)),
            f"iou{number}": np.array(overlap / (union + 1e-6)),
        }
    return found


def _system(case: Mapping[str, Any]) -> CRIS:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "published.pth"
        torch.save({"epoch": 1, "state_dict": _published(case)}, path)
        published = read_cris(path)
    options = case["options"]
    section = cris_model(published, source=path)
    section |= {"heads": options["decoder_heads"], "max_words": options["word_len"]}
    section["text"] |= {"tokens": None, "heads": options["clip_heads"]["text"]}
    words = len(published["backbone.token_embedding.weight"])
    system = build_system(CRISModel.model_validate(section), vocabulary=Vocabulary(f"w{n}" for n in range(words - 2)))
    assert isinstance(system, CRIS)
    load_state(system, cris_state(published), source="published.pth")
    return system.eval()


def _published(case: Mapping[str, Any]) -> dict[str, Tensor]:
    state = {}
    for one in case["parameters"]:
        name, shape = one["name"], one["shape"]
        if one.get("integer"):
            state[f"module.{name}"] = torch.zeros(shape, dtype=torch.int64)
        else:
            values = values_of(name, shape, salt=case["salt"], channels_last=case["channels_last"])
            state[f"module.{name}"] = torch.from_numpy(values)
    return state


def _forward(system: CRIS, case: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what the case lists, in its layouts and strides, by hooks on the parts of one forward pass."""
    seen: dict[str, Any] = {}

    def keep(name: str, module: nn.Module) -> None:
        module.register_forward_hook(lambda _module, _inputs, output: seen.__setitem__(name, output))

    for name, module in (
        ("visual", system.visual), ("neck", system.neck), ("decoder", system.decoder), ("map", system.head.ups),
        ("kernel", system.head.kernel), *((f"layer{n}", layer) for n, layer in enumerate(system.decoder.layers)),
    ):  # fmt: skip
        keep(name, module)
    images = torch.from_numpy(arrays["images"]).permute(0, 3, 1, 2).float() / 255
    ids = torch.from_numpy(arrays["token_ids"]).long()
    masks = torch.from_numpy(arrays["masks"]).float() / 255
    size = images.shape[-1]
    visual = system.encode_image(images, torch.zeros(len(images), *images.shape[2:], dtype=torch.bool))
    text = system.encode_text(ids, ids != 0)
    output = system.decode(visual, text)
    small = functional.interpolate(masks[:, None], size=output.logits.shape[-2:], mode="nearest")
    loss = functional.binary_cross_entropy_with_logits(output.logits, small[:, 0])
    # On rectangles the letterbox's resize, which is square, has the same rule.
    resized = functional.interpolate(
        output.logits.sigmoid()[:, None], size=tuple(images.shape[-2:]), mode="bicubic", align_corners=True
    )[:, 0]
    if images.shape[-1] == images.shape[-2]:
        box = AffineLetterbox(height=size, width=size, size=size)
        assert torch.equal(box.resized(output.logits.sigmoid()), resized)
    loss.backward()
    fine, middle, coarse = seen["visual"].maps
    found: dict[str, Any] = {
        "image": system.visual.normalised(images),
        "c3": fine,
        "c4": middle,
        "c5": coarse,
        "words": text.words,
        "state": text.sentence,
        "neck": seen["neck"],
        **{f"decoder_layer{n}": seen[f"layer{n}"][0].transpose(0, 1) for n in range(len(system.decoder.layers))},
        "decoder": seen["decoder"][0].flatten(2),
        "projector_map": system.head.pixels(seen["map"]),
        "projector_kernel": seen["kernel"],
        "logits": output.logits[:, None],
        "probability": resized,
        "small_mask": small,
        "loss": loss,
    }
    strides = _strides(case["outputs"])
    strided = {name: value.detach().numpy()[strides.get(name, ...)] for name, value in found.items()}
    threshold = (resized > case["options"].get("threshold", 0.35)).detach().numpy()
    strided["mask_packed"] = np.unpackbits(np.packbits(threshold.reshape(len(threshold), -1), axis=1), axis=1)
    gradients = _gradients(system, case)
    for name in case["options"]["gradients"]:
        values = gradients[name]
        if name.endswith("token_embedding.weight"):
            values = values[np.unique(arrays["token_ids"])]
        flat = values.reshape(-1)
        strided[f"gradient {name}"] = flat[:: math.ceil(len(flat) / _SAMPLES)]
    return strided


def _gradients(system: CRIS, case: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the gradients of the parameters that the case asks for, by their published names and layouts."""
    ours = {name: one.grad for name, one in system.named_parameters() if one.grad is not None}
    shapes = {one["name"]: tuple(one["shape"]) for one in case["parameters"]}
    found = {}
    for name in case["options"]["gradients"]:
        empty = torch.zeros(shapes[name])
        named = cris_state({name: empty})
        if name.startswith("backbone.") and not name.startswith("backbone.visual."):
            assert list(named) == list(text_state({name.removeprefix("backbone."): empty}, prefix="text.clip."))
        else:
            assert name.startswith("backbone.visual.") or list(named) == [our_name(name)]
        gradient = torch.cat([ours[one] for one in named])
        found[name] = (gradient.T if name.endswith("text_projection") else gradient).numpy()
    return found


def _strides(outputs: Mapping[str, str]) -> dict[str, Any]:
    """Return the strides that each output's line ends with, such as [:, ::16]; `likewise` are those of the last one."""
    found: dict[str, Any] = {}
    last: Any = ...
    for name, line in outputs.items():
        match = re.search(r"\[((?::{1,2}\d*(?:, )?)+)\]", line)
        if match is not None:
            last = tuple(slice(None, None, int(one.strip(":") or 1)) for one in match[1].split(", "))
        elif "likewise" not in line:
            last = ...
        found[name] = last
    return found


def _like(value: Any, shape: tuple[int, ...]) -> np.ndarray:
    array = np.asarray(value)
    return array.reshape(shape) if array.size == math.prod(shape) else array
