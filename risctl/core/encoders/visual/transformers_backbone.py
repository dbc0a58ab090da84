"""Runs any vision backbone of transformers (`AutoBackbone`) as a visual encoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from risctl.core.blocks import freeze
from risctl.core.encoders.base import VisualFeatures
from risctl.core.encoders.load_weights import load_state
from risctl.core.encoders.model_config import read_model_config, unreadable
from risctl.core.encoders.visual.clip_frames import features_of, normalised
from risctl.data.download.hub import MODEL, model_folder
from risctl.data.download.pretrained import quietly
from risctl.errors import CheckpointError, RecipeError
from risctl.json_text import parse_json

_PROBE = 448
"""Side of the input with which strides are measured: a multiple of the strides 4 to 32 and of patches of 14."""
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_STAGES = 4
_OPTION = "model.visual.name"


class TransformersBackbone(nn.Module):
    """Images or clips to the maps of a backbone's stages, with the strides and channels that the model has.

    A plain vision transformer (DINOv2, DINOv3), whose stages all have the patch's stride, gives the maps of four layers
    at equal distances; for a fusion that takes a pyramid they are resampled to its strides, as in ViTDet's simple
    feature pyramid (Li et al., ECCV 2022) without its convolutions. Parameters are named as in transformers.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: Mapping[str, Any], *, strides: tuple[int, ...] = (), frozen: bool = False) -> None:
        """Builds the backbone with random weights.

        Args:
            config: What `read_config` returned.
            strides: The strides of the maps that the fusion takes; empty: any.
            frozen: Whether no parameter trains.

        Raises:
            RecipeError: The configuration is not that of a vision backbone.
        """
        super().__init__()
        from transformers import AutoBackbone

        settings = _backbone_config(config)
        try:
            self.backbone = AutoBackbone.from_config(settings)
            with torch.device("meta"):
                self.channels, self.own_strides = _measured(AutoBackbone.from_config(settings))
        except (ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
            raise RecipeError(
                f"{_OPTION}: expected a vision backbone of transformers, got model type {config.get('model_type')!r}: "
                f"{str(error).splitlines()[0]}"
            ) from error
        # A plain transformer has one stride; it can be resampled to any.
        self.resampled = bool(strides) and len(set(self.own_strides)) == 1 and len(strides) <= len(self.own_strides)
        self.strides = strides if self.resampled else self.own_strides
        self.channels = self.channels[-len(self.strides) :]
        mean, deviation = settings.image_mean, settings.image_std
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(3, 1, 1), persistent=False)
        self.frozen = frozen
        self.train()

    def train(self, mode: bool = True) -> TransformersBackbone:
        """Sets the training mode; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            freeze(self.children())
        return self

    def load(self, source: str) -> None:
        """Loads the weights of a folder or hub id. Raises `CheckpointError` if they are those of another model."""
        folder = model_folder(source, MODEL, option="model.visual.weights")
        try:
            with quietly():
                model, report = type(self.backbone).from_pretrained(
                    str(folder), config=self.backbone.config, local_files_only=True, output_loading_info=True
                )
        except Exception as error:  # the library checks little of what it reads
            raise unreadable(folder, error, what="a backbone") from error
        state = model.state_dict()
        # Norms of a backbone's outputs are not part of a classifier's weights; they start from 1 and 0.
        if 2 * len(report["missing_keys"]) > len(state):
            raise CheckpointError(
                f"{source} is of another model: {len(report['missing_keys'])} of {len(state)} tensors are missing"
            )
        load_state(self.backbone, dict(state), source=source)

    def forward(self, images: Tensor, padding: Tensor) -> VisualFeatures:
        """Encodes images (B, 3, H, W) or clips (B, T, 3, H, W), RGB in [0, 1], with padding (B, H, W)."""
        x = normalised(images, padding, mean=self.mean, deviation=self.deviation)
        x = x.flatten(0, 1) if images.ndim == 5 else x
        height, width = x.shape[-2:]
        x = functional.pad(x, (0, self._added(width), 0, self._added(height)))
        maps = list(self.backbone(x).feature_maps)[-len(self.strides) :]
        fitted = []
        for one, own, stride in zip(maps, self.own_strides[-len(maps) :], self.strides, strict=True):
            if own != stride:
                one = functional.interpolate(one, scale_factor=own / stride, mode="bilinear", antialias=own < stride)
            fitted.append(one[..., : -(-height // stride), : -(-width // stride)].contiguous())
        return features_of(fitted, images, padding, strides=self.strides)

    def _added(self, side: int) -> int:
        """Returns how many pixels make a side a multiple of the model's own stride that covers whole cells."""
        whole = -(-side // max(self.strides)) * max(self.strides)
        return -(-whole // max(self.own_strides)) * max(self.own_strides) - side


def read_config(source: str) -> dict[str, Any]:
    """Reads the configuration of a model, with the mean and deviation that its images are normalised by.

    Args:
        source: A folder in the layout of transformers, or a hub id.

    Returns:
        JSON values, from which `TransformersBackbone` is built without the folder.

    Raises:
        CheckpointError: There is no such folder, or its configuration cannot be read.
        MachineError: The hub cannot be reached.
    """
    folder, values = read_model_config(source, option=_OPTION)
    for key in ("out_features", "out_indices"):
        values.pop(key, None)
    return values | _normalisation(folder)


def _normalisation(folder: Path) -> dict[str, Any]:
    try:
        values = parse_json((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        values = {}
    except (OSError, ValueError) as error:
        raise unreadable(folder / "preprocessor_config.json", error, what="JSON") from error
    given = values if isinstance(values, dict) else {}
    found = {"image_mean": given.get("image_mean") or _MEAN, "image_std": given.get("image_std") or _DEVIATION}
    for key, numbers in found.items():
        if not isinstance(numbers, list | tuple) or [type(one) in (int, float) for one in numbers] != [True] * 3:
            raise CheckpointError(f"expected three numbers as {key} in {folder / 'preprocessor_config.json'}")
        if not all(abs(one) < 1e6 for one in numbers) or (key == "image_std" and min(numbers) <= 0):
            raise CheckpointError(f"{key} in {folder / 'preprocessor_config.json'} is no {key} of images")
    return {key: [float(one) for one in numbers] for key, numbers in found.items()}


def _backbone_config(config: Mapping[str, Any]) -> Any:
    from transformers import AutoConfig

    try:
        settings = AutoConfig.for_model(**config)
        names = list(settings.stage_names)[1:]
        layers = len(names)
        chosen = [names[-(-layers * (number + 1) // _STAGES) - 1] for number in range(_STAGES)] if layers > 4 else names
        settings.set_output_features_output_indices(out_features=chosen, out_indices=None)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecipeError(
            f"{_OPTION}: expected a vision backbone of transformers, got model type {config.get('model_type')!r}, "
            "which `AutoBackbone` does not list"
        ) from error
    settings.image_mean = config.get("image_mean", list(_MEAN))
    settings.image_std = config.get("image_std", list(_DEVIATION))
    return settings


def _measured(backbone: nn.Module) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns the channels and the strides of the maps of a backbone on the meta device."""
    with torch.no_grad():
        maps = backbone(torch.empty(1, 3, _PROBE, _PROBE, device="meta")).feature_maps
    return tuple(feature_map.shape[1] for feature_map in maps), tuple(
        round(_PROBE / feature_map.shape[-1]) for feature_map in maps
    )
