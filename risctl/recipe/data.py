"""The `data` section: which store, which sentences, and how a batch is made of them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from risctl.recipe.section import FileName, Fraction, Section


class AugmentSection(Section):
    """Random changes of the training pictures; what a change does to left and right is done to the words as well."""

    flip: Fraction = Field(
        default=0.0, description="Share of the samples mirrored, with left and right swapped in the text."
    )
    colour: Fraction = Field(
        default=0.0, description="Strength of random brightness, contrast and saturation; 0: none."
    )
    zoom: Fraction = Field(
        default=0.0,
        description="Share of the pictures shown in part, 55 to 100 % of each side, or smaller with a border; things "
        "mostly cut away are left out. For systems trained on all things of a picture.",
    )
    paste: Fraction = Field(
        default=0.0,
        description="Share of the pictures that get one to three things of another picture of the store laid on them "
        "(copy-paste). For systems trained on all things of a picture.",
    )


class DataSection(Section):
    """What is trained on."""

    store: FileName = Field(description="The store that `risctl prepare` wrote (.h5).")
    train_split: str = Field(default="train", min_length=1, description="The split that is trained on.")
    val_split: str = Field(default="val", min_length=1, description="The split that chooses the best checkpoint.")
    batch_size: int = Field(
        default=16, ge=1, le=8192, description="Samples a step on each device, before `optim.accumulate`."
    )
    workers: int = Field(default=2, ge=0, le=256, description="Loader processes; 0: load in the main process.")
    sentences: Literal["random", "all"] = Field(
        default="random",
        description="What an epoch is: `random`: every ref once with one of its sentences by chance; `all`: every "
        "sentence once.",
    )
    text_field: Literal["sent", "raw", "raw_lower"] = Field(
        default="sent",
        description="Which text is read: as its publisher normalised it, as typed, or as typed in lower case.",
    )
    frames: int | None = Field(
        default=None,
        ge=1,
        le=100,
        description="Frames of a training clip, from a store of videos; null: pictures.",
    )
    augment: AugmentSection | None = Field(
        default=None, description="Random changes of the training pictures; null: none."
    )
