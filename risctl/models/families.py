"""Lists the families of models that a name can stand for, and what was run of each: the table in `docs/models.md`."""

from __future__ import annotations

from dataclasses import dataclass

from risctl.models.registry import MODELS, WEIGHTS
from risctl.systems.transformers.families import FAMILIES as TUNED
from risctl.systems.transformers.families import family_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Models that are opened the same way.

    Attributes:
        title: What they do.
        opened_by: The class of transformers that opens them.
        tried: The `model_type`s of which a tiny model with random weights is tested.
        further: Others that the same class opens, which no test has tried.
        refused: Others that the same class opens and risctl refuses: no object can be masked in their vision towers.
        full: Those that `benchmarks/seats.py` ran in their published configuration with random weights.
        real: Those that were run with their real weights.
    """

    title: str
    opened_by: str
    tried: tuple[str, ...]
    further: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    full: tuple[str, ...] = ()
    real: tuple[str, ...] = ()


FAMILIES = (
    Family(title="text → masks", opened_by="risctl.load", tried=("mini",), real=("mini",)),
    Family(title="text → mask", opened_by="CLIPSegForImageSegmentation", tried=("clipseg",), full=("clipseg",)),
    Family(title="text → masks", opened_by="Sam3Model", tried=("sam3", "sam3_video"), full=("sam3",)),
    Family(title="text → masks", opened_by="AutoModel", tried=("sam3_lite_text",)),
    Family(title="text → mask, as polygons", opened_by="Florence2ForConditionalGeneration", tried=("florence2",)),
    Family(
        title="text → boxes",
        opened_by="AutoModelForZeroShotObjectDetection",
        tried=("grounding-dino", "mm-grounding-dino", "omdet-turbo", "owlv2", "owlvit"),
        full=("grounding-dino", "owlv2", "owlvit"),
    ),
    Family(
        title="categories → boxes",
        opened_by="AutoModelForObjectDetection",
        tried=(
            "conditional_detr",
            "d_fine",
            "dab-detr",
            "deformable_detr",
            "deimv2",
            "detr",
            "lw_detr",
            "rf_detr",
            "rt_detr",
            "rt_detr_v2",
            "yolos",
        ),
        further=(
            "pp_doclayout_v2",
            "pp_doclayout_v3",
            "pp_doclayout_v4",
            "pp_ocrv5_mobile_det",
            "pp_ocrv5_server_det",
            "pp_ocrv6_medium_det",
            "pp_ocrv6_small_det",
            "table-transformer",
        ),
    ),
    Family(
        title="categories → masks",
        opened_by="AutoModelForUniversalSegmentation",
        tried=("eomt", "eomt_dinov3", "mask2former", "maskformer", "oneformer"),
        further=("detr", "videomt"),
    ),
    Family(
        title="categories → masks",
        opened_by="AutoModelForInstanceSegmentation",
        tried=("rf_detr",),
        further=("maskformer",),
    ),
    Family(
        title="boxes → masks",
        opened_by="AutoModelForMaskGeneration",
        tried=("edgetam", "edgetam_video", "sam", "sam2", "sam2_video", "sam3_tracker", "sam3_video", "sam_hq"),
        full=("sam2",),
    ),
    Family(
        title="masks → masks in further frames",
        opened_by="AutoModel",
        tried=("edgetam_video", "sam2_video", "sam3_tracker_video"),
    ),
    Family(
        title="masks → masks in further frames",
        opened_by="Sam3TrackerVideoModel",
        tried=("sam3_video",),
    ),
    Family(title="text, image → similarity", opened_by="CLIPModel", tried=("clip",)),
    Family(
        title="text, image → similarity",
        opened_by="AutoModelForZeroShotImageClassification",
        tried=("altclip", "chinese_clip", "metaclip_2", "siglip"),
        refused=("align", "blip", "blip-2", "siglip2", "tipsv2", "videoprism"),
    ),
)
"""Every family. What transformers adds to an Auto class later works without a line here; this says what was run."""


def model_table() -> str:
    """Returns the table of named models, as Markdown."""
    lines = ["| name | what it is | weights | parameters | licence | can |", "|---|---|---|---|---|---|"]
    for name, model in MODELS.items():
        parts = [WEIGHTS[part] for part in model.parts]
        weights = "<br>".join(f"`{one.repository}`{' (gated)' if one.gated else ''}" for one in parts) or "shipped"
        count = "<br>".join(f"{one.millions:g} M" for one in parts) or "5.1 M"
        licence = "<br>".join(one.licence or "see its page" for one in parts) or "Apache-2.0"
        can = ", ".join(model.can) or "one object a phrase"
        lines.append(f"| `{name}` | {model.help} | {weights} | {count} | {licence} | {can} |")
    return "\n".join(lines)


def family_table() -> str:
    """Returns the table of families with what was run, as Markdown."""
    lines = [
        "| does | opened by | random tiny: tested | random full: run | real weights | not tried | refused |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in FAMILIES:
        rest = [", ".join(names) or "–" for names in (one.full, one.real, one.further, one.refused)]
        lines.append(f"| {one.title} | `{one.opened_by}` | {', '.join(one.tried)} | {' | '.join(rest)} |")
    return "\n".join(lines)


def finetune_table() -> str:
    """Returns the table of what can be fine-tuned, as Markdown."""
    by_recipe: dict[str, list[str]] = {}
    for kind, entry in TUNED.items():
        by_recipe.setdefault(entry.recipe, []).append(kind)
    lines = ["| recipe | families | the run answers with |", "|---|---|---|"]
    for recipe, kinds in by_recipe.items():
        finds = family_of(kinds[0], source=kinds[0]).finds
        answer = "masks" if finds == "masks" else "boxes: `RUN+sam2` segments them"
        lines.append(f"| `{recipe}` | {', '.join(kinds)} | {answer} |")
    return "\n".join(lines)
