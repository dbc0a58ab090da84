"""The `data` section: which store, which sentences, and how a batch is made of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from risctl.section import FileName, Fraction, Section


class CropSection(Section):
    """A part of the picture, cut where the object shows: so large as if the picture were scaled first."""

    share: Fraction = Field(default=0.5, description="Share of the samples that are cut.")
    short: Annotated[tuple[Annotated[int, Field(ge=32, le=4096)], ...], Field(strict=False, min_length=1)] = Field(
        default=(400, 500, 600), description="Short sides that the picture is thought to have, one of them by chance."
    )
    least: int = Field(default=384, ge=16, le=4096, description="Smallest side of the part, in pixels of that picture.")
    most: int = Field(default=600, ge=16, le=4096, description="Largest side of the part.")

    @field_validator("most")
    @classmethod
    def _most_is_no_less(cls, value: int, info: ValidationInfo) -> int:
        least = info.data.get("least")
        if least is not None and value < least:
            raise PydanticCustomError("clash", "no less than `data.augment.crop.least` ({least})", {"least": least})
        return value


class AugmentSection(Section):
    """Random changes of the training pictures; what a change does to left and right is done to the words as well."""

    flip: Fraction = Field(
        default=0.0, description="Share of the samples mirrored, with left and right swapped in the text."
    )
    colour: Fraction = Field(
        default=0.0, description="Strength of random brightness, contrast and saturation; 0: none."
    )
    photometric: bool = Field(
        default=False,
        description="Distort colours as SSD does: brightness by up to 32 of 255, contrast and saturation by a half, "
        "the hue by up to 18 degrees, each of them every other time.",
    )
    crop: CropSection | None = Field(default=None, description="Show a part of the picture; null: always all of it.")
    sizes: Annotated[tuple[Annotated[int, Field(ge=32, le=2048)], ...], Field(strict=False)] = Field(
        default=(),
        description="Short sides of the input, one of them by chance in the place of `model.short_side`, for a system "
        "whose inputs keep the picture's shape; empty: always that one.",
    )
    longest: int | None = Field(
        default=None,
        ge=32,
        le=4096,
        description="What the other side may not pass at these sizes; null: as `model` has it.",
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


class QuestionsSection(Section):
    """Questions about boxes: what a system that finds and then chooses learns the choice from, without pictures."""

    files: list[FileName] = Field(
        default_factory=list, description="Files of boxes and phrases, as `risctl prepare box-phrases` writes them."
    )
    made: int = Field(
        default=0, ge=0, le=10_000_000, description="Phrases an epoch that are made anew about the files' boxes."
    )
    found: bool = Field(
        default=False, description="Also the store's phrases, about what the model finds in the store's pictures."
    )
    drop: Fraction = Field(default=0.1, description="Share of the questions that lose some of their boxes.")
    detector: Fraction = Field(default=0.0, description="Share whose known boxes are made to look found.")
    colours: Fraction = Field(default=0.0, description="Share whose boxes are given made-up colours.")
    typo: Fraction = Field(default=0.0, description="Share that have a typing error.")


class DataSection(Section):
    """What is trained on."""

    store: FileName = Field(description="The store that `risctl prepare` wrote (.h5).")
    also: Annotated[tuple[FileName, ...], Field(strict=False)] = Field(
        default=(),
        description="Further stores to train on: an epoch is every item of all stores once, mixed. Pictures that "
        "another of the stores holds outside its training split are left out. Evaluation is on `data.store`.",
    )
    train_split: str = Field(default="train", min_length=1, description="The split that is trained on.")
    val_split: str = Field(default="val", min_length=1, description="The split that chooses the best checkpoint.")
    batch_size: int = Field(
        default=16, ge=1, le=8192, description="Samples a step on each device, before `optim.accumulate`."
    )
    workers: int = Field(default=2, ge=0, le=256, description="Loader processes; 0: load in the main process.")
    items: Literal["phrases", "things", "questions"] = Field(
        default="phrases",
        description="What is learned from: `phrases` and the masks they mean; all `things` in a picture; `questions` "
        "about boxes (the last two: mini).",
    )
    questions: QuestionsSection = Field(
        default_factory=QuestionsSection, description="What the questions are about, with `items: questions`."
    )
    sentences: Literal["random", "all", "clips"] = Field(
        default="random",
        description="What an epoch is: `random`: every ref once with one of its sentences by chance; `all`: every "
        "sentence once; `clips`: of videos, every sentence once for each `frames` frames of its video, of pictures as "
        "`random`.",
    )
    text_field: Literal["sent", "raw", "raw_lower"] = Field(
        default="sent",
        description="Which text is read: as its publisher normalised it, as typed, or as typed in lower case.",
    )
    frames: int | None = Field(
        default=None,
        ge=1,
        le=100,
        description="Frames of a training clip; a picture of a store of pictures becomes so many, slightly moved. "
        "null: pictures.",
    )
    features: FileName | None = Field(
        default=None,
        description="What the frozen part of the encoders gives, computed before by `risctl prepare features`: a file; "
        "`auto`: the one beside the store, if it is there; null: it is computed at every step.",
    )
    augment: AugmentSection | None = Field(
        default=None, description="Random changes of the training pictures; null: none."
    )

    @property
    def stores(self) -> tuple[str, ...]:
        """All stores that are trained on, the one that is evaluated on first."""
        return (self.store, *self.also)
