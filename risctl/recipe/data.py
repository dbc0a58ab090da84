"""Defines the `data` section: the stores, the training samples, and how batches are made of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from risctl.section import FileName, Fraction, Section

Sizes = Annotated[tuple[Annotated[int, Field(ge=32, le=2048)], ...], Field(strict=False)]


class CropSection(Section):
    """A random crop, sized as if the image had been resized first."""

    probability: Fraction = Field(default=0.5, description="Probability that a sample is cropped.")
    short_sides: Annotated[tuple[Annotated[int, Field(ge=32, le=4096)], ...], Field(strict=False, min_length=1)] = (
        Field(
            default=(400, 500, 600),
            description="Short sides that the image is considered resized to before cropping, one chosen at random.",
        )
    )
    min_size: int = Field(
        default=384, ge=16, le=4096, description="Smallest side of the crop, in pixels of the resized image."
    )
    max_size: int = Field(default=600, ge=16, le=4096, description="Largest side of the crop.")
    sizes: Sizes = Field(
        default=(),
        description="Short sides of the input after a crop, one chosen at random; empty: `data.augment.sizes`.",
    )
    longest: int | None = Field(
        default=None,
        ge=32,
        le=4096,
        description="Upper limit of the long side at `sizes`; null: the limit in `model`.",
    )
    keep_object: bool = Field(
        default=False,
        description="Draw a crop again, up to ten times, until it shows part of the object. Without it another sample "
        "takes the place of one whose object is not seen, as published for ReferFormer.",
    )
    boxes: Literal["clipped", "refitted"] = Field(
        default="clipped",
        description="The box of an object that is cropped: `clipped`: its annotated box, clipped, as published for "
        "ReferFormer; `refitted`: the box of what is left of its mask.",
    )

    @field_validator("max_size")
    @classmethod
    def _sizes_are_ordered(cls, value: int, info: ValidationInfo) -> int:
        smallest = info.data.get("min_size")
        if smallest is not None and value < smallest:
            raise PydanticCustomError(
                "clash", "no less than `data.augment.crop.min_size` ({smallest})", {"smallest": smallest}
            )
        return value


class AugmentSection(Section):
    """Random augmentations of the training images; a mirrored image has left and right swapped in its expression."""

    flip: Fraction = Field(
        default=0.0, description="Probability of a horizontal flip, with left and right swapped in the expression."
    )
    flip_text: Literal["words", "letters"] = Field(
        default="words",
        description="What of a mirrored image's expression is swapped: `words`: words that name a side, short forms "
        "(l, r) too; `letters`: the letters left and right wherever they stand, as ReferFormer's published code does "
        "(bright becomes bleft).",
    )
    colour: Fraction = Field(
        default=0.0, description="Strength of random brightness, contrast and saturation; 0: none."
    )
    photometric: bool = Field(
        default=False,
        description="Photometric distortion as in SSD: brightness by up to 32 of 255, contrast and saturation by up to "
        "a half, hue by up to 18 degrees, each with probability 0.5.",
    )
    photometric_per_frame: bool = Field(
        default=True,
        description="With `photometric`: distort each frame of a clip on its own, as published for ReferFormer, or "
        "all alike.",
    )
    swap_channels: Fraction = Field(
        default=0.5,
        description="With `photometric`: probability that the colour channels are permuted, as published for "
        "ReferFormer. 0 keeps the colours that expressions name.",
    )
    crop: CropSection | None = Field(default=None, description="Random crops; null: always the full image.")
    sizes: Sizes = Field(
        default=(),
        description="Multi-scale training: short sides of the input, one chosen at random in place of "
        "`model.short_side`, for a system whose inputs keep the aspect ratio; empty: always `model.short_side`.",
    )
    longest: int | None = Field(
        default=None,
        ge=32,
        le=4096,
        description="Upper limit of the long side at these sizes; null: the limit in `model`.",
    )
    zoom: Fraction = Field(
        default=0.0,
        description="Probability of zooming: 55 to 100 % of each side is shown, or the image is shrunk within a "
        "border; instances that are mostly cut away are left out. For systems trained on all instances of an image.",
    )
    paste: Fraction = Field(
        default=0.0,
        description="Probability of copy-paste: one to three instances of another image of the store are pasted. For "
        "systems trained on all instances of an image.",
    )


class BoxGroundingSection(Section):
    """Box grounding: expressions about given boxes, which train a box selector without images."""

    files: list[FileName] = Field(
        default_factory=list, description="Files of boxes and expressions, written by `risctl prepare box-phrases`."
    )
    generated: int = Field(
        default=0,
        ge=0,
        le=10_000_000,
        description="Expressions generated about the files' boxes in each epoch, new ones every time.",
    )
    detected: bool = Field(
        default=False,
        description="Add the store's expressions, about the boxes that the model detects in the store's images.",
    )
    layouts: list[FileName] = Field(
        default_factory=list,
        description="Files of boxes without expressions, written by `risctl prepare box-phrases --layouts`: where "
        "named, the generated expressions are about these.",
    )
    records: FileName | None = Field(
        default=None,
        description="A file of what a detector found (tools/detector_records.py): `detector_noise` draws from it.",
    )
    made: int = Field(
        default=0,
        ge=0,
        le=10_000_000,
        description="Expressions generated about the detections of `records` in each epoch, with their colours.",
    )
    looks: Fraction = Field(
        default=0.0,
        description="Share of `made` that tell an object by the colour of its clothes or of a part, where one can.",
    )
    absent: int = Field(
        default=0,
        ge=0,
        le=10_000_000,
        description="No-target expressions in each epoch: written about one image, paired with another that "
        "shows nothing of the kind.",
    )
    box_dropout: Fraction = Field(default=0.1, description="Share of the samples that lose some of their boxes.")
    detector_noise: Fraction = Field(
        default=0.0, description="Share whose annotated boxes are disturbed to look like a detector's."
    )
    random_colours: Fraction = Field(default=0.0, description="Share whose boxes get a random appearance.")
    typos: Fraction = Field(default=0.0, description="Share whose expression gets a typing error.")


class DataSection(Section):
    """The training data."""

    store: FileName = Field(description="The store that `risctl prepare` wrote (.h5).")
    also: Annotated[tuple[FileName, ...], Field(strict=False)] = Field(
        default=(),
        description="Further stores to train on: an epoch covers all samples of all stores once, shuffled together. "
        "`data.store` is evaluated on.",
    )
    boxes_only: Annotated[tuple[FileName, ...], Field(strict=False)] = Field(
        default=(),
        description="Those of `store` and `also` whose masks are only the boxes of their instances. With "
        "`items: instances` masks are learned from them by their boxes and colours, as BoxInst does.",
    )
    evaluation_images: Literal["left_out", "kept"] = Field(
        default="left_out",
        description="With `also`: whether images that another of the stores holds outside its training split are left "
        "out of training, or kept, as published for ReferFormer.",
    )
    train_split: str = Field(default="train", min_length=1, description="The split to train on.")
    val_split: str = Field(default="val", min_length=1, description="The split that selects the best checkpoint.")
    batch_size: int = Field(
        default=16, ge=1, le=8192, description="Samples a step on each device, before `optim.accumulate`."
    )
    last_batch: Literal["drop", "wrap"] = Field(
        default="drop",
        description="Samples of an epoch that fill no whole step: `drop`: they are left out; `wrap`: the first samples "
        "of the epoch fill the step, as VLT's published code does.",
    )
    same_orientation: bool = Field(
        default=False,
        description="Whether the images of a batch are all wider than high or all not, as published for ZSI; the first "
        "samples of each kind then fill its last step, whatever `last_batch` says.",
    )
    workers: int = Field(default=2, ge=0, le=256, description="Data-loader processes; 0: load in the main process.")
    items: Literal["expressions", "instances", "box_grounding"] = Field(
        default="expressions",
        description="What a training sample is: `expressions`: an expression and its mask; `instances`: all instances "
        "of an image; `box_grounding`: an expression about boxes (the last two: mini).",
    )
    box_grounding: BoxGroundingSection = Field(
        default_factory=BoxGroundingSection, description="The samples of `items: box_grounding`."
    )
    sentences: Literal["random", "all", "clips"] = Field(
        default="random",
        description="What an epoch covers: `random`: each ref once, with one of its sentences at random; `all`: each "
        "sentence once; `clips`: for videos, each sentence once at every `frames`-th frame of its video, as published "
        "for ReferFormer, for images as `all`.",
    )
    phrases_per_image: int = Field(
        default=1,
        ge=1,
        le=256,
        description="How many samples of an image come together: they share its augmentation, and it is encoded once "
        "for those in one batch. 1: each sample has its image encoded. For training on expressions about images.",
    )
    text_field: Literal["sent", "raw", "raw_lower"] = Field(
        default="sent",
        description="Which text to use: as normalised by the dataset's publisher, as typed, or as typed in lower case.",
    )
    polygons: Annotated[tuple[FileName, ...], Field(strict=False)] = Field(
        default=(),
        description="Published `instances.json`, one for each store: training masks are rasterised from its polygons "
        "at the input's size, as published for ReLA, rather than stored masks resized. For systems with square inputs.",
    )
    frames: int | None = Field(
        default=None,
        ge=1,
        le=100,
        description="Frames of a training clip; an image of an image store becomes a clip with slight random motion. "
        "null: single images.",
    )
    features: FileName | None = Field(
        default=None,
        description="Cached features of the frozen part of the encoders, written by `risctl prepare features`: a file; "
        "`auto`: the one beside the store, if there is one; null: compute them at every step.",
    )
    augment: AugmentSection | None = Field(
        default=None, description="Random augmentations of the training images; null: none."
    )

    @field_validator("boxes_only")
    @classmethod
    def _boxes_are_of_stores(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        stores = (info.data.get("store"), *info.data.get("also", ()))
        other = next((name for name in value if name not in stores), None)
        if other is not None:
            raise PydanticCustomError("clash", "files of `data.store` and `data.also`, not {other}", {"other": other})
        return value

    @field_validator("polygons")
    @classmethod
    def _each_store_has_its_polygons(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        count = 1 + len(info.data.get("also", ()))
        if value and len(value) != count:
            raise PydanticCustomError("clash", "one file for each of {count} stores, or none", {"count": count})
        return value

    @property
    def stores(self) -> tuple[str, ...]:
        """All stores to train on; the first is the one that is evaluated on."""
        return (self.store, *self.also)
