"""The options of every command that runs Global-Local CLIP or another zero-shot method."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Annotated, Any, get_type_hints

import typer

from risctl.cli.options import VocabularyOption
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
    """The dtype of CLIP's weights."""

    fp32 = "fp32"
    fp16 = "fp16"
    bf16 = "bf16"


class BoxRule(StrEnum):
    """How a proposal's box is computed."""

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
_KEPT = "Filtering of proposals"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The values of the options, one field each."""

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
            help="The paper's method, one of its baselines, or a text-prompted model: clipseg, sam3, grounded-sam.",
        ),
    ] = Method.global_local
    clip: Annotated[
        str | None,
        typer.Option(
            "--clip",
            help="The CLIP model, as a folder or hub id in Hugging Face's layout, or OpenAI's .pt (also ResNets); "
            "with --method clipseg, sam3 or grounded-sam, a CLIPSeg, SAM 3 or Grounding DINO. Default: "
            "openai/clip-vit-base-patch32, or the model that the method's authors published.",
            show_default=False,
        ),
    ] = None
    vocabulary: VocabularyOption = None
    sam: Annotated[
        str | None,
        typer.Option(
            "--sam",
            help="With --method grounded-sam: the model that segments its boxes, any SAM, SAM 2, SAM-HQ or EdgeTAM. "
            "Default: facebook/sam-vit-base.",
            show_default=False,
        ),
    ] = None
    fast: Annotated[
        bool,
        typer.Option("--fast", help="Encode only the most promising proposals in full; the selection may differ."),
    ] = False
    shortlist: Annotated[
        int, typer.Option("--shortlist", min=1, help="With --fast: how many proposals per phrase are encoded in full.")
    ] = 10
    visual_weight: Annotated[
        float | None,
        typer.Option(
            "--visual-weight",
            min=0,
            max=1,
            help="Weight of the global feature. Default: 0.95, and 0.85 on RefCOCOg (paper).",
        ),
    ] = None
    text_weight: Annotated[
        float,
        typer.Option(
            "--text-weight", min=0, max=1, help="Weight of the phrase against its noun phrase (beta in the paper)."
        ),
    ] = 0.5
    masked_blocks: Annotated[
        int,
        typer.Option(
            "--masked-blocks", min=0, help="Last blocks of a ViT that see the proposal alone (k in the paper)."
        ),
    ] = 3
    box: Annotated[
        BoxRule,
        typer.Option("--box", help="How a proposal's box is computed: tight, or as the reference code estimates it."),
    ] = BoxRule.tight
    precision: Annotated[Precision, typer.Option("--precision", help="The dtype of CLIP.")] = Precision.fp32
    spacy_model: Annotated[
        str | None,
        typer.Option(
            "--spacy-model",
            help="The spaCy model that finds noun phrases. Default: en_core_web_lg, _md or _sm if installed, else the "
            "parser that comes with risctl.",
            show_default=False,
        ),
    ] = None
    min_score: Annotated[float, typer.Option("--min-score", help="The least score.", rich_help_panel=_KEPT)] = 0.0
    area: Annotated[
        tuple[float, float],
        typer.Option("--area", help="The least and greatest share of the picture.", rich_help_panel=_KEPT),
    ] = (0.0, 1.0)
    max_overlap: Annotated[
        float,
        typer.Option(
            "--max-overlap",
            help="Drop what overlaps a better proposal by this IoU or more.",
            rich_help_panel=_KEPT,
        ),
    ] = 1.0
    max_count: Annotated[int, typer.Option("--max-count", help="Keep at most so many.", rich_help_panel=_KEPT)] = 100
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
            help="A prompt with {}; may be repeated, and the features are averaged. 'ensemble' is a set of five (CLIP, "
            "section 3.1.4).",
            show_default=False,
            rich_help_panel=_BEYOND,
        ),
    ] = None
    negative: Annotated[
        list[str] | None,
        typer.Option(
            "--negative",
            help="A text whose similarity is subtracted, as in CaR and Ref-Diff; may be repeated.",
            rich_help_panel=_BEYOND,
        ),
    ] = None
    settings: Annotated[
        str | None,
        typer.Option(
            "--settings",
            metavar="NAME|FILE",
            help="Options from a file, such as a row of the paper's tables (`risctl recipes ls --paper "
            "global-local-clip`). An option that is given here, other than at its default, goes before.",
            show_default=False,
        ),
    ] = None
    spatial: Annotated[
        float,
        typer.Option(
            "--spatial",
            min=0,
            help="Weight of spatial words such as left or second from right, as in HybridGL.",
            rich_help_panel=_BEYOND,
        ),
    ] = 0.0

    def given(self) -> set[str]:
        """Returns the names of the options that are not at their defaults."""
        return {field.name for field in fields(self) if getattr(self, field.name) != field.default}

    def with_settings(self) -> Choices:
        """Returns the choices with those of the file `settings`, if there is one.

        Raises:
            RecipeError: The file is not one, or has unknown options or values; with all problems at once.
        """
        if self.settings is None:
            return self
        from risctl.cli.zeroshot.settings import read_settings

        found = read_settings(self.settings, Choices)
        others = {name: value for name, value in found.items() if name not in self.given()}
        return replace(self, settings=None, **others)

    def refuse(self, names: set[str], because: str) -> None:
        """Raises `UsageError` if options of `names` were given, with the reason `because`."""
        found = [f"--{field.name.replace('_', '-')}" for field in fields(self) if field.name in names & self.given()]
        if found:
            raise UsageError(f"leave {', '.join(found)} out: {because}")


def with_choices(command: Callable[..., None]) -> Callable[..., None]:
    """Returns a command in which the fields of `Choices` are options in place of the parameter `choices`."""
    hints = get_type_hints(command, include_extras=True)
    spread = get_type_hints(Choices, include_extras=True)
    names = [field.name for field in fields(Choices)]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        command(choices=Choices(**{name: given.pop(name) for name in names}).with_settings(), **given)

    parameters = []
    for parameter in inspect.signature(command).parameters.values():
        keyword = inspect.Parameter.KEYWORD_ONLY
        if parameter.name == "choices":
            parameters += [
                inspect.Parameter(field.name, keyword, default=field.default, annotation=spread[field.name])
                for field in fields(Choices)
            ]
        else:
            parameters.append(parameter.replace(kind=keyword, annotation=hints[parameter.name]))
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {"return": None}
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run
