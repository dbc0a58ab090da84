"""Defines the `model.visual` section of a recipe, which all systems share."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from risctl.core.encoders.visual.registry import PRETRAINED, VISUAL_ENCODERS, VisualInput, find_visual, fitting
from risctl.errors import RecipeError
from risctl.section import FileName, Fraction, Section

_OFF: dict[str, Any] = {
    "frozen_convolutions": 0,
    "batch_statistics": False,
    "frozen_stages": 0,
    "frozen_norms": False,
    "drop_path": 0.0,
    "config": None,
}
"""What the fields of other encoders hold."""


def _default_convolutions(data: dict[str, Any]) -> int:
    return int(VisualSection.options_of(data).get("frozen_convolutions", 0))


def _default_batch_statistics(data: dict[str, Any]) -> bool:
    return bool(VisualSection.options_of(data).get("batch_statistics", False))


def _default_drop_path(data: dict[str, Any]) -> float:
    return float(VisualSection.options_of(data).get("drop_path", 0.0))


def default_weights(data: dict[str, Any]) -> str | None:
    """Returns the weights of a backbone of transformers unless others are named: its own."""
    name = data.get("name") or ""
    return name.removeprefix(PRETRAINED) if name.startswith(PRETRAINED) else None


class VisualSection(Section):
    """The visual backbone. A system subclasses it to set its default name and what its fusion takes."""

    wanted: ClassVar[VisualInput] = VisualInput()

    name: str = Field(
        description="The backbone: a name of this package, or `hf:FOLDER_OR_ID` for any vision backbone of "
        "transformers (Swin, ConvNeXt, DINOv2, DINOv3, ResNet, …).",
        examples=[*VISUAL_ENCODERS, f"{PRETRAINED}FOLDER_OR_ID"],
    )
    weights: FileName | None = Field(
        default_factory=default_weights,
        description="Pretrained weights: a file, `imagenet` (resnets, mobilenet_v2), `deeplabv3` (resnet50, "
        "resnet101: torchvision's, trained on COCO with VOC labels), of `hf:` a folder or hub id; null: random "
        "weights. Default: null; with `hf:` the folder or hub id itself.",
    )
    frozen: bool = Field(default=False, description="Train no parameter of the backbone.")
    frozen_convolutions: int = Field(
        default_factory=_default_convolutions,
        ge=0,
        le=58,
        description="darknet53 only: how many of the first convolutions are frozen. Default: 56 for darknet53, 0 for "
        "every other backbone.",
    )
    batch_statistics: bool = Field(
        default_factory=_default_batch_statistics,
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
        default_factory=_default_drop_path,
        description="Swin only: stochastic depth of the last block, increasing linearly up to it. Default: 0.2.",
    )
    config: dict[str, Any] | None = Field(
        default=None,
        description="`hf:` only: the model's configuration; read from the folder or hub when null, and stored in "
        "checkpoints.",
    )

    @field_validator("name")
    @classmethod
    def _fits_the_fusion(cls, value: str) -> str:
        names = fitting(cls.wanted)
        try:
            entry = find_visual(value)
        except RecipeError:
            entry = None
        if entry is None or not (value.startswith(PRETRAINED) or entry.fits(cls.wanted)):
            raise PydanticCustomError("clash", "one of {names}", {"names": ", ".join(names)})
        return value

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

    @field_validator(*_OFF)
    @classmethod
    def _encoder_takes_the_option(cls, value: Any, info: ValidationInfo) -> Any:
        name, option = info.data.get("name"), str(info.field_name)
        if name is None or value == _OFF[option]:
            return value
        entry = find_visual(name)
        taken = option in entry.options and (cls.wanted.dilated or not option.startswith(("frozen_s", "frozen_n")))
        if not taken:
            taking = [one for one, entry in VISUAL_ENCODERS.items() if option in entry.options]
            raise PydanticCustomError(
                "clash",
                "{off}: {name} has no `{option}`" + (", only {taking}" if taking else ""),
                {"off": str(_OFF[option]).lower(), "name": name, "option": option, "taking": ", ".join(taking)},
            )
        return value

    @staticmethod
    def options_of(data: dict[str, Any]) -> dict[str, Any]:
        """Returns the fields that the encoder named in `data` takes, with their defaults."""
        name = data.get("name")
        return {} if name is None else dict(find_visual(name).options)

    def resolved(self) -> VisualSection:
        """Returns the section with the configuration of a backbone of transformers filled in."""
        if not self.name.startswith(PRETRAINED) or self.config is not None:
            return self
        from risctl.core.encoders.visual.transformers_backbone import read_config

        return self.model_copy(update={"config": read_config(self.name.removeprefix(PRETRAINED))})
