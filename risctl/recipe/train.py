"""Defines the `train` and `eval` sections: duration, precision, checkpoints, and how the model is evaluated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from risctl.metrics.protocols import PROTOCOLS
from risctl.section import FileName, Section

if TYPE_CHECKING:
    ProtocolName = str
else:
    ProtocolName = Literal[tuple(PROTOCOLS)]

Prefix = Annotated[str, Field(min_length=1)]


class InitWeightsSection(Section):
    """Initial weights from another checkpoint. Its optimizer state and schedule are not used."""

    checkpoint: FileName = Field(description="A checkpoint file, or a run folder, whose `best` (else `last`) is used.")
    include: Annotated[tuple[Prefix, ...], Field(strict=False)] = Field(
        default=(),
        description="Load only parameters whose names start with one of these, such as [visual, text]; empty: all.",
    )
    exclude: Annotated[tuple[Prefix, ...], Field(strict=False)] = Field(
        default=(),
        description="Do not load parameters whose names start with one of these, such as [classes].",
    )


class EarlyStopSection(Section):
    """When a run ends before its last epoch: a figure of its evaluations no longer rises."""

    figure: str | None = Field(default=None, min_length=1, description="The figure; null: that of `train.best`.")
    patience: int = Field(ge=1, le=100_000, description="How many evaluations in a row may bring no rise.")
    min_delta: float = Field(
        default=0.0, ge=0.0, le=100.0, description="What counts as a rise: more than this many points, in percent."
    )


class TrainSection(Section):
    """The training run."""

    init_weights: InitWeightsSection | None = Field(
        default=None,
        description="Initial weights; null: random ones, apart from the pretrained weights that `model` names.",
    )
    epochs: int = Field(ge=1, le=100_000, description="Passes over the training split.")
    max_steps: int | None = Field(
        default=None,
        ge=1,
        description="Stop after this many steps even if epochs remain; schedules use the smaller of the two.",
    )
    seed: int = Field(
        default=0, ge=0, le=2**32 - 1, description="Seed of weights, order, choice of sentences and augmentations."
    )
    precision: Literal["fp32", "fp16", "bf16"] = Field(default="fp32", description="Precision of the forward pass.")
    eval_every: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        default=1, description="Epochs between evaluations on `data.val_split`; null: never, and there is no `best`."
    )
    eval_limit: int | None = Field(
        default=None, ge=1, description="Largest number of sentences to evaluate; null: all."
    )
    eval_sentences: Literal["all", "first"] = Field(
        default="all",
        description="Sentences of each ref that are evaluated in training: `all`, or the `first`, as CRIS's code does.",
    )
    save_every: int | None = Field(
        default=None, ge=1, description="Steps between saves of `last`; null: once an epoch."
    )
    best: str = Field(default="mIoU", min_length=1, description="The metric that selects `best`; higher is better.")
    early_stop: EarlyStopSection | None = Field(default=None, description="When the run ends early; null: it does not.")
    trackers: Annotated[tuple[Literal["tensorboard", "wandb"], ...], Field(strict=False)] | None = Field(
        default=None,
        description="Where the figures go beside metrics.jsonl: tensorboard, wandb (Weights & Biases); [] for nowhere; "
        "null: TensorBoard, where it is installed.",
    )
    log_every: int = Field(default=20, ge=1, description="Steps between lines of metrics.jsonl.")
    skip_corrupt: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="How many training images that cannot be read a run goes on past; the next sample of the data that "
        "can be read takes their place, and they are named in the log and the result. 0: the first one ends the run.",
    )
    parallel: Literal["ddp", "fsdp"] = Field(
        default="ddp",
        description="What several processes have of the model: `ddp`: each the whole; `fsdp`: each a share of weights, "
        "gradients, moments and EMA, for models that are too large for one GPU; without effect on one device.",
    )
    sync_norms: bool = Field(
        default=False,
        description="Batch norms take their statistics over the batches of all GPUs (SyncBatchNorm); without effect on "
        "one device.",
    )
    deterministic: bool = Field(default=True, description="Use deterministic operations where there are any.")
    ema: Annotated[float, Field(gt=0.0, lt=1.0)] | None = Field(
        default=None,
        description="Decay of an exponential moving average (EMA) of the weights, which is then evaluated and saved; "
        "null: none.",
    )

    @field_validator("parallel")
    @classmethod
    def _has_a_scaler(cls, value: str, info: ValidationInfo) -> str:
        if value == "fsdp" and info.data.get("precision") == "fp16":
            raise PydanticCustomError(
                "clash", "`ddp`, as `train.precision` is `fp16`; `fsdp` goes with `bf16` or `fp32`", {}
            )
        return value

    @field_validator("early_stop")
    @classmethod
    def _stops_by_evaluations(cls, value: EarlyStopSection | None, info: ValidationInfo) -> EarlyStopSection | None:
        if value is not None and info.data.get("eval_every", 1) is None:
            raise PydanticCustomError(
                "clash", "null, as `train.eval_every` is: there are no figures to stop by", {"path": "train.early_stop"}
            )
        return value


class EvalSection(Section):
    """How the model is evaluated, during the run and after it."""

    protocol: ProtocolName = Field(
        default="original",
        description="The evaluation protocol. Default: that of the system, `cris` for CRIS; `original` for systems "
        "without one.",
    )
    threshold: Annotated[float, Field(gt=0.0, lt=1.0)] | None = Field(
        default=None,
        description="Probability above which a pixel belongs to the mask, where the protocol fixes none; null: 0.5.",
    )
    text_field: Literal["sent", "raw", "raw_lower"] | None = Field(
        default=None, description="Which text is read in evaluation; null: `data.text_field`."
    )
    text_batch: int = Field(
        default=16, ge=1, le=4096, description="Expressions decoded at a time for one encoded image."
    )
