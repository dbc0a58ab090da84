"""The options that `risctl zeroshot predict` and `eval` share: what answers, what proposes, what is kept."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from risctl.errors import UsageError


class Method(StrEnum):
    """The paper's method, the baselines that it reports, and text-prompted networks, which need no proposals."""

    global_local = "global-local"
    cropping = "cropping"
    region_token = "region-token"
    score_map = "score-map"
    gradcam = "gradcam"
    clipseg = "clipseg"
    sam3 = "sam3"
    grounded_sam = "grounded-sam"

    @property
    def is_text_prompted(self) -> bool:
        """Whether it is a text-prompted network, which needs no proposals."""
        return self in (Method.clipseg, Method.sam3, Method.grounded_sam)


class Precision(StrEnum):
    """The number type of CLIP's weights."""

    fp32 = "fp32"
    fp16 = "fp16"
    bf16 = "bf16"


class BoxRule(StrEnum):
    """How a proposal's box is found."""

    tight = "tight"
    reference = "reference"


def _sources_help() -> str:
    from risctl.zeroshot.proposals.sources import SOURCES

    named = "; ".join(f"{name}: {entry.help}" for name, entry in SOURCES.items())
    return (
        f"Where proposals come from; default: embedded. {named}. Models also as NAME:FOLDER or NAME:HUB_ID. Or a file "
        "or folder: a COCO result JSON, an npz, a folder of npz or PNG files."
    )


_BEYOND = "Beyond the paper"
_KEPT = "Which proposals are kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the user chose. Each field is an option of both commands."""

    proposals: Annotated[
        str | None,
        typer.Option(
            "--proposals",
            "-P",
            metavar="SOURCE",
            help=_sources_help(),
            show_default=False,
        ),
    ] = None
    method: Annotated[
        Method,
        typer.Option(
            "--method",
            help="The paper's method, one of its baselines, or a text-prompted network: clipseg, sam3, grounded-sam.",
        ),
    ] = Method.global_local
    clip: Annotated[
        str | None,
        typer.Option(
            "--clip",
            help="The model: a CLIP as a folder or hub id in Hugging Face's layout, or OpenAI's .pt (also ResNets); "
            "with --method clipseg, sam3 or grounded-sam a CLIPSeg, SAM 3 or Grounding DINO. Default: "
            "openai/clip-vit-base-patch32, or what the method's authors published.",
            show_default=False,
        ),
    ] = None
    vocabulary: Annotated[
        Path | None,
        typer.Option(
            "--vocabulary",
            help="For a .pt: bpe_simple_vocab_16e6.txt.gz or a folder with a tokenizer. Default: beside it.",
            show_default=False,
        ),
    ] = None
    sam: Annotated[
        str | None,
        typer.Option(
            "--sam",
            help="With --method grounded-sam: what turns its boxes into masks, any SAM, SAM 2, SAM-HQ or EdgeTAM. "
            "Default: facebook/sam-vit-base.",
            show_default=False,
        ),
    ] = None
    fast: Annotated[
        bool,
        typer.Option("--fast", help="Look closely at the most promising proposals only; not always the same choice."),
    ] = False
    shortlist: Annotated[
        int, typer.Option("--shortlist", min=1, help="With --fast: how many are looked at closely, a text.")
    ] = 10
    visual_weight: Annotated[
        float | None,
        typer.Option(
            "--visual-weight",
            min=0,
            max=1,
            help="Weight of the global feature. Default: 0.95, on RefCOCOg 0.85 (paper).",
        ),
    ] = None
    box: Annotated[
        BoxRule, typer.Option("--box", help="A proposal's box: its true extent, or the published estimate.")
    ] = BoxRule.tight
    precision: Annotated[Precision, typer.Option("--precision", help="Number type of CLIP.")] = Precision.fp32
    spacy_model: Annotated[
        str | None,
        typer.Option(
            "--spacy-model",
            help="Parser of noun phrases. Default: en_core_web_lg, _md or _sm if installed, else the one shipped.",
            show_default=False,
        ),
    ] = None
    min_score: Annotated[float, typer.Option("--min-score", help="At least this score.", rich_help_panel=_KEPT)] = 0.0
    area: Annotated[
        tuple[float, float],
        typer.Option("--area", help="Within these shares of the picture.", rich_help_panel=_KEPT),
    ] = (0.0, 1.0)
    max_overlap: Annotated[
        float,
        typer.Option(
            "--max-overlap", help="Dropped if it overlaps a better one by this IoU or more.", rich_help_panel=_KEPT
        ),
    ] = 1.0
    most: Annotated[int, typer.Option("--most", help="At most so many.", rich_help_panel=_KEPT)] = 100
    matrix_nms: Annotated[
        bool,
        typer.Option(
            "--matrix-nms",
            help="Matrix NMS as published: score 0.1, gaussian, sigma 2, update 0.05.",
            rich_help_panel=_KEPT,
        ),
    ] = False
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            "--prompt",
            help="A prompt with {}, may be repeated, features are averaged; or 'ensemble' for a set of five (CLIP, "
            "section 3.1.4).",
            show_default=False,
            rich_help_panel=_BEYOND,
        ),
    ] = None
    negative: Annotated[
        list[str] | None,
        typer.Option(
            "--negative",
            help="A text whose similarity is taken off; may be repeated (as CaR and Ref-Diff do).",
            rich_help_panel=_BEYOND,
        ),
    ] = None
    spatial: Annotated[
        float,
        typer.Option(
            "--spatial",
            min=0,
            help="Weight of words such as left or second from right (as HybridGL does).",
            rich_help_panel=_BEYOND,
        ),
    ] = 0.0

    def given(self) -> set[str]:
        """Return the names of the fields that are not at their defaults."""
        return {one.name for one in fields(self) if getattr(self, one.name) != one.default}

    def refuse(self, names: set[str], because: str) -> None:
        """Raise `UsageError` naming those of the options `names` that the user gave."""
        found = [f"--{one.name.replace('_', '-')}" for one in fields(self) if one.name in names & self.given()]
        if found:
            raise UsageError(f"leave {', '.join(found)} out: {because}")


def with_choices(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command whose parameter `choices` stands as one option for each field of `Choices`."""
    hints = get_type_hints(command, include_extras=True)
    spread = get_type_hints(Choices, include_extras=True)
    names = [one.name for one in fields(Choices)]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        command(choices=Choices(**{name: given.pop(name) for name in names}), **given)

    parameters = []
    for one in inspect.signature(command).parameters.values():
        keyword = inspect.Parameter.KEYWORD_ONLY
        if one.name == "choices":
            parameters += [
                inspect.Parameter(field.name, keyword, default=field.default, annotation=spread[field.name])
                for field in fields(Choices)
            ]
        else:
            parameters.append(one.replace(kind=keyword, annotation=hints[one.name]))
    run.__annotations__ = {one.name: one.annotation for one in parameters} | {"return": None}
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run
