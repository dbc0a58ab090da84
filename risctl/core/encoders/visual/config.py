"""Defines the `model.visual` section of a recipe, which all systems share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from risctl.core.encoders.section import ANY_PRETRAINED, EncoderSection, default_of
from risctl.core.encoders.visual.registry import DILATED_OPTIONS, VISUAL_ENCODERS, VisualInput, find_visual, fitting
from risctl.section import FileName, Fraction

_OFF: dict[str, Any] = {
    "frozen_convolutions": 0,
    "batch_statistics": False,
    "frozen_stages": 0,
    "frozen_norms": False,
    "drop_path": 0.0,
    "window": None,
    "config": None,
}
"""What the fields of other encoders hold."""


def default_weights(data: dict[str, Any]) -> str | None:
    """Returns the weights of a backbone of transformers unless others are named: its own."""
    weights: str | None = default_of("weights", find_visual)(data)
    return weights


class VisualSection(EncoderSection):
    """The visual backbone. A system subclasses it to set its default name and what its fusion takes."""

    off: ClassVar[Mapping[str, Any]] = _OFF
    wanted: ClassVar[VisualInput] = VisualInput()

    name: str = Field(
        description="The backbone: a name of this package, or `hf:FOLDER_OR_ID` for any vision backbone of "
        "transformers (Swin, ConvNeXt, DINOv2, DINOv3, ResNet, …).",
        examples=[*VISUAL_ENCODERS, ANY_PRETRAINED],
    )
    weights: FileName | None = Field(
        default_factory=default_weights,
        description="Pretrained weights: a file, `imagenet` (resnets, mobilenet_v2), `deeplabv3` (resnet50, "
        "resnet101: torchvision's, trained on COCO with VOC labels), of `hf:` a folder or hub id; null: random "
        "weights. Default: null; with `hf:` the folder or hub id itself.",
    )
    frozen: bool = Field(default=False, description="Train no parameter of the backbone.")
    frozen_convolutions: int = Field(
        default_factory=default_of("frozen_convolutions", find_visual, off=0),
        ge=0,
        le=58,
        description="darknet53 only: how many of the first convolutions are frozen. Default: 56 for darknet53, 0 for "
        "every other backbone.",
    )
    batch_statistics: bool = Field(
        default_factory=default_of("batch_statistics", find_visual, off=False),
        description="darknet53 only: in training, the norms of frozen convolutions normalise by the statistics of the "
        "batch, as the published Keras code does; false: by the stored ones, as in evaluation, which cached features "
        "need. Default: true for darknet53.",
    )
    frozen_stages: int = Field(
        default=0,
        ge=0,
        le=5,
        description="Dilated backbones only (STEP): how many of the five stages, from the first on, are frozen.",
    )
    frozen_norms: bool = Field(
        default=False,
        description="Dilated backbones only (STEP): keep the statistics of the batch norms as loaded, as small "
        "batches need it.",
    )
    drop_path: Fraction = Field(
        default_factory=default_of("drop_path", find_visual, off=0.0),
        description="Swin only: stochastic depth of the last block, increasing linearly up to it. Default: 0.2.",
    )
    window: Annotated[int, Field(ge=1, le=64)] | None = Field(
        default_factory=default_of("window", find_visual),
        description="Swin for images only: side of an attention window in cells, 12 for weights trained at 384 pixels. "
        "Default: 7.",
    )
    config: dict[str, Any] | None = Field(
        default=None,
        description="`hf:` only: the model's configuration; read from the folder or hub when null, and stored in "
        "checkpoints.",
    )

    @field_validator("weights")
    @classmethod
    def _published_weights_exist(cls, value: str | None, info: ValidationInfo) -> str | None:
        name = info.data.get("name")
        having = [one for one, entry in VISUAL_ENCODERS.items() if value in entry.published]
        if having and name is not None and name not in having:
            raise PydanticCustomError(
                "clash",
                "a file or null: there are `{weights}` weights of {names} only",
                {"weights": value, "names": ", ".join(having)},
            )
        return value

    @classmethod
    def encoders(cls) -> list[str]:
        """Returns the names of the encoders that have the maps that the fusion takes."""
        return fitting(cls.wanted)

    @classmethod
    def options_of(cls, name: str) -> Mapping[str, Any]:
        """Returns the fields that an encoder takes, with their defaults."""
        options = find_visual(name).options
        return options if cls.wanted.dilated else {one: options[one] for one in options if one not in DILATED_OPTIONS}

    @classmethod
    def read_config(cls, source: str) -> dict[str, Any]:
        """Reads the configuration of a backbone of transformers from its folder or the hub."""
        from risctl.core.encoders.visual.transformers_backbone import read_config

        return read_config(source)
