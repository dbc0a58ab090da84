"""Defines the `optim` section: optimizer, learning rate and its schedule."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from risctl.section import Fraction, Section

Beta = Annotated[float, Field(ge=0.0, lt=1.0)]
NamePart = Annotated[str, Field(min_length=1)]
Epoch = Annotated[int, Field(ge=2, le=100_000)]


class ScheduleSection(Section):
    """The learning-rate schedule after the warm-up. Keys that the named schedule does not use have no effect."""

    name: Literal["constant", "steps", "cosine", "poly"] = Field(
        default="constant",
        description="`steps`: multiplied by `factor` at each of `milestones`; `cosine` and `poly`: from 1 down to "
        "`final` over all steps, `poly` as (1 - t)^power.",
    )
    milestone_steps: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)] = Field(
        default=(),
        description="Steps in place of epochs: after so many, the rate is multiplied by `factor`. Only for `steps`.",
    )
    milestones: Annotated[tuple[Epoch, ...], Field(strict=False)] = Field(
        default=(),
        description="Epochs, counted from 1, at whose start the rate is multiplied by `factor`: with 40, epoch 39 is "
        "the last at the old rate. Only for `steps`.",
    )
    factor: float = Field(default=0.1, gt=0.0, le=1.0, description="Factor of the rate at each milestone.")
    power: float = Field(default=0.9, gt=0.0, le=10.0, description="Exponent of `poly`.")
    final: Fraction = Field(default=0.0, description="Final rate of `cosine` and `poly`, as a share of `optim.lr`.")

    @field_validator("milestone_steps", "milestones")
    @classmethod
    def _milestones_belong_to_steps(cls, value: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        name, what = info.data.get("name"), "epochs" if info.field_name == "milestones" else "steps"
        if name is not None and name != "steps" and value:
            raise PydanticCustomError("clash", "no milestones, as the schedule is `{name}`", {"name": name})
        if any(later <= earlier for earlier, later in pairwise(value)):
            raise PydanticCustomError("clash", "{what} in ascending order, each once", {"what": what})
        if info.field_name == "milestones":
            steps = info.data.get("milestone_steps")
            if value and steps:
                raise PydanticCustomError("clash", "none beside `optim.schedule.milestone_steps`")
            if name == "steps" and not value and steps == ():
                raise PydanticCustomError("clash", "at least one epoch, as the schedule is `steps`")
        return value


class OptimSection(Section):
    """The optimizer."""

    name: Literal["adam", "adamw", "sgd"] = Field(default="adamw", description="The optimizer.")
    lr: float = Field(default=1.0e-3, gt=0.0, le=10.0, description="Learning rate after the warm-up.")
    betas: Annotated[tuple[Beta, Beta], Field(strict=False)] = Field(
        default=(0.9, 0.999), description="Betas of adam and adamw."
    )
    eps: float = Field(default=1.0e-8, gt=0.0, le=1.0, description="Epsilon of adam and adamw.")
    momentum: float = Field(default=0.9, ge=0.0, lt=1.0, description="Momentum of sgd.")
    weight_decay: float = Field(
        default=0.0, ge=0.0, le=10.0, description="Weight decay: decoupled in adamw, an L2 penalty in adam and sgd."
    )
    decay_all: bool = Field(
        default=False,
        description="With adamw, also decay parameters of one dimension (norms, biases), as PyTorch does.",
    )
    schedule: ScheduleSection = Field(default_factory=ScheduleSection, description="The learning-rate schedule.")
    warmup_steps: int = Field(
        default=0, ge=0, le=10_000_000, description="Steps over which the rate rises linearly to `lr`."
    )
    warmup_ratio: Fraction = Field(default=0.01, description="Share of `lr` at the first step of the warm-up.")
    clip_norm: float | None = Field(
        default=None,
        gt=0.0,
        le=1.0e6,
        description="Gradient clipping: largest norm over all parameters; null: no clipping.",
    )
    accumulate: int = Field(default=1, ge=1, le=65_536, description="Gradient accumulation: batches per step.")
    multipliers: dict[str, Annotated[float, Field(ge=0.0, le=1.0e4)]] = Field(
        default_factory=dict,
        description="Factors of `lr` for parameters whose names start with a prefix, as {prefix: factor}; the longest "
        "prefix wins.",
    )
    multipliers_from: int = Field(
        default=1,
        ge=1,
        le=100_000,
        description="Epoch, counted from 1, from which on `multipliers` hold; before it all parameters train at `lr`.",
    )
    undecayed: Annotated[tuple[NamePart, ...], Field(strict=False)] = Field(
        default=(),
        description="No weight decay for parameters with one of these in their name, such as [norm].",
    )
    excluded: Annotated[tuple[NamePart, ...], Field(strict=False)] = Field(
        default=(),
        description="Parameters whose names start with one of these are never optimised, nor counted in the gradient's "
        "norm, as if a published optimizer had not been given them.",
    )
