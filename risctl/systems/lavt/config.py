"""Defines LAVT's `model` section."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from risctl.core.encoders.text.config import TextSection
from risctl.core.encoders.visual.config import VisualSection
from risctl.core.encoders.visual.registry import VisualInput
from risctl.section import ModelSection, multiple_of

STRIDE = 32
"""Input pixels per cell of the coarsest map."""

Heads = Annotated[int, Field(ge=1, le=64)]


class LAVTVisualSection(VisualSection):
    """The visual backbone, between whose stages the words are read: maps at strides 4, 8, 16 and 32."""

    wanted: ClassVar[VisualInput] = VisualInput(staged=True)

    name: str = Field(
        default="swin_b",
        description="The backbone. The published ones are `swin_t`, `swin_s`, `swin_b` (the figures) and `swin_l`.",
    )


class LAVTTextSection(TextSection):
    """The text encoder."""

    name: str = Field(
        default="bert",
        description="The text encoder. The published one is `bert`, without dropout (`lavt`) or with 0.1 (`lavt_one`).",
    )


class LAVTModel(ModelSection):
    """LAVT: language-aware vision transformer (Yang et al., CVPR 2022); LAVT-One computes the same function."""

    protocol: ClassVar[str] = "lavt"

    system: Literal["lavt"] = Field(description="Name of the system, which decides the other keys of `model`.")
    input_size: int = Field(
        default=480, ge=32, le=2048, description="Side of the square input in pixels, a multiple of 32."
    )
    max_words: int = Field(
        default=20,
        ge=2,
        le=200,
        description="Number of tokens after which an expression is cut off, its start token and, if it is short "
        "enough, its end token included.",
    )
    fusion_heads: Annotated[tuple[Heads, Heads, Heads, Heads], Field(strict=False)] = Field(
        default=(1, 1, 1, 1),
        description="Attention heads with which the four stages read the words; each divides the stage's channels.",
    )
    decoder_channels: int | None = Field(
        default=None,
        ge=8,
        le=4096,
        description="Width of the decoder; null: half of the coarsest map's channels, as published.",
    )
    class_weights: Annotated[
        tuple[Annotated[float, Field(gt=0.0)], Annotated[float, Field(gt=0.0)]], Field(strict=False)
    ] = Field(default=(0.9, 1.1), description="Weights of background and object in the loss.")
    visual: LAVTVisualSection = Field(default_factory=LAVTVisualSection, description="The visual backbone.")
    text: LAVTTextSection = Field(default_factory=LAVTTextSection, description="The text encoder.")

    _cells_fill_the_input = field_validator("input_size")(multiple_of(STRIDE))

    @field_validator("visual")
    @classmethod
    def _heads_divide(cls, value: LAVTVisualSection, info: ValidationInfo) -> LAVTVisualSection:
        width = WIDTHS.get(value.name)
        heads: Any = info.data.get("fusion_heads")
        for stage, count in enumerate(heads or ()):
            if width is not None and width * 2**stage % count:
                raise PydanticCustomError(
                    "clash",
                    "a backbone whose stages have multiples of `model.fusion_heads` channels; stage {stage} of {name} "
                    "has {channels}",
                    {"stage": stage + 1, "name": value.name, "channels": width * 2**stage},
                )
        return value


WIDTHS = {"swin_t": 96, "swin_s": 96, "swin_b": 128, "swin_l": 192, "resnet18": 64, "resnet50": 256, "resnet101": 256}
"""Channels of the first stage of the backbones whose stages double them."""
