"""The `train` and `eval` sections: how long, how precise, what is kept, and how it is measured."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from risctl.section import FileName, Section

# The names of `metrics.protocols.PROTOCOLS`, which stands in a room above; a test holds the two together.
ProtocolName = Literal["original", "lavt", "cris", "mcn", "rela", "mmdet", "a2d", "davis", "zsris", "phrasecut"]


Prefix = Annotated[str, Field(min_length=1)]


class StartSection(Section):
    """The weights that a training begins with: those of another. Its optimizer and its course do not come along."""

    checkpoint: FileName = Field(description="A checkpoint, or the folder of a run, whose `best` (else `last`) it is.")
    parts: Annotated[tuple[Prefix, ...], Field(strict=False)] = Field(
        default=(),
        description="Take only parameters whose names begin with one of these, such as [visual, text]; empty: all.",
    )
    anew: Annotated[tuple[Prefix, ...], Field(strict=False)] = Field(
        default=(),
        description="Parameters that begin as without a checkpoint, by how their names begin, such as [classes].",
    )


class TrainSection(Section):
    """The run."""

    start: StartSection | None = Field(
        default=None, description="Weights to begin with; null: random ones, but for what `model` names."
    )

    epochs: int = Field(ge=1, le=100_000, description="Passes over the training split.")
    max_steps: int | None = Field(
        default=None,
        ge=1,
        description="Stop after so many steps even if epochs remain; schedules count on the fewer of both.",
    )
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="Of weights, order, sentences and augmentation.")
    precision: Literal["fp32", "fp16", "bf16"] = Field(default="fp32", description="Precision of the forward pass.")
    eval_every: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        default=1, description="Epochs between evaluations on `data.val_split`; null: none, and no `best`."
    )
    eval_limit: int | None = Field(default=None, ge=1, description="Evaluate on so many sentences at most; null: all.")
    save_every: int | None = Field(
        default=None, ge=1, description="Steps between saves of `last`; null: once an epoch."
    )
    best: str = Field(
        default="mIoU", min_length=1, description="The figure of the evaluation that chooses `best`, higher is better."
    )
    log_every: int = Field(default=20, ge=1, description="Steps between lines of metrics.jsonl.")
    deterministic: bool = Field(default=True, description="Prefer the deterministic form of every operation.")
    ema: Annotated[float, Field(gt=0.0, lt=1.0)] | None = Field(
        default=None, description="Decay of a running mean of the weights, which is then what is evaluated; null: none."
    )


class EvalSection(Section):
    """How the model is measured, in the run and after it."""

    protocol: ProtocolName = Field(default="original", description="The convention of the figures.")
    threshold: Annotated[float, Field(gt=0.0, lt=1.0)] | None = Field(
        default=None, description="Probability above which a pixel is in the mask; null: the protocol's own."
    )
    text_batch: int = Field(
        default=16, ge=1, le=4096, description="Sentences decoded together for one encoded picture."
    )
