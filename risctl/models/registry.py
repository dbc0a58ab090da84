"""Lists the models that have a name, with what is known of their published weights. Imports nothing heavy.

A name stands for published weights (`WEIGHTS`); names joined by "+" are a pipeline, such as a detector and what
segments its boxes. The folder or hub id of any other model of a family works in place of a name: families are
recognised by their configuration, not by this list.
"""

from __future__ import annotations

from dataclasses import dataclass

CHOOSER = "chooser"
"""What is put after a pipeline so that mini's box selector chooses among its instances."""

PLURAL, NO_MATCH, VIDEO, CLASSES = "plural", "no match", "video", "classes"
"""What a model can do: select several objects for a phrase, say that there is none, take videos, detect by category."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Published weights that a name stands for.

    Attributes:
        title: The model in print.
        repository: Their id on the Hugging Face hub.
        task: What they do: "text → masks", "boxes → masks", "text → boxes", "classes → boxes", "classes → masks".
        millions: Millions of parameters, of the model that risctl builds from the published configuration.
        licence: The licence that the publisher states; None where it was not looked up.
        gated: Whether its terms must be accepted on its page first.
    """

    title: str
    repository: str
    task: str
    millions: float
    licence: str | None
    gated: bool = False


WEIGHTS = {
    "clipseg": Weights(
        title="CLIPSeg rd64-refined",
        repository="CIDAS/clipseg-rd64-refined",
        task="text → masks",
        millions=151,
        licence="Apache-2.0",
    ),
    "sam3": Weights(
        title="SAM 3",
        repository="facebook/sam3",
        task="text → masks",
        millions=840,
        licence="SAM License",
        gated=True,
    ),
    "sam3-lite": Weights(
        title="SAM 3 LiteText S0",
        repository="yonigozlan/sam3-litetext-s0",
        task="text → masks",
        millions=548,
        licence=None,
    ),
    "florence2": Weights(
        title="Florence-2 base",
        repository="florence-community/Florence-2-base",
        task="text → masks",
        millions=232,
        licence=None,
    ),
    "owlv2": Weights(
        title="OWLv2 base, ensemble",
        repository="google/owlv2-base-patch16-ensemble",
        task="text → boxes",
        millions=154,
        licence="Apache-2.0",
    ),
    "grounding-dino": Weights(
        title="Grounding DINO tiny",
        repository="IDEA-Research/grounding-dino-tiny",
        task="text → boxes",
        millions=172,
        licence="Apache-2.0",
    ),
    "rf-detr": Weights(
        title="RF-DETR base",
        repository="Roboflow/rf-detr-base",
        task="classes → boxes",
        millions=32,
        licence="Apache-2.0",
    ),
    "mask2former": Weights(
        title="Mask2Former Swin-T, COCO instances",
        repository="facebook/mask2former-swin-tiny-coco-instance",
        task="classes → masks",
        millions=47,
        licence=None,
    ),
    "sam": Weights(
        title="SAM ViT-B",
        repository="facebook/sam-vit-base",
        task="boxes → masks",
        millions=94,
        licence="Apache-2.0",
    ),
    "sam2": Weights(
        title="SAM 2.1 tiny",
        repository="facebook/sam2.1-hiera-tiny",
        task="boxes → masks",
        millions=39,
        licence="Apache-2.0",
    ),
    "sam-hq": Weights(
        title="SAM-HQ ViT-B",
        repository="syscv-community/sam-hq-vit-base",
        task="boxes → masks",
        millions=95,
        licence="Apache-2.0",
    ),
    "edgetam": Weights(
        title="EdgeTAM",
        repository="yonigozlan/EdgeTAM-hf",
        task="boxes → masks",
        millions=14,
        licence="Apache-2.0",
    ),
    "clip": Weights(
        title="CLIP ViT-B/32",
        repository="openai/clip-vit-base-patch32",
        task="text, image → similarity",
        millions=151,
        licence="MIT",
    ),
    "siglip": Weights(
        title="SigLIP base, 224 pixels",
        repository="google/siglip-base-patch16-224",
        task="text, image → similarity",
        millions=203,
        licence="Apache-2.0",
    ),
}
"""Published weights by the name of their part. To add some: a line here; their family needs none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedModel:
    """A model that answers phrases and that `risctl models ls` lists.

    Attributes:
        help: One line for a person.
        parts: The names in `WEIGHTS` whose weights it needs.
        can: What it can do beside segmenting one object for a phrase.
    """

    help: str
    parts: tuple[str, ...]
    can: tuple[str, ...]


OWN = "mini"
GLOBAL_LOCAL = "global-local"
MODELS = {
    OWN: NamedModel(help="The small model that comes with risctl.", parts=(), can=(PLURAL, NO_MATCH, VIDEO, CLASSES)),
    "clipseg": NamedModel(help="One map of probabilities a phrase.", parts=("clipseg",), can=(PLURAL,)),
    "sam3": NamedModel(help="Every instance that fits the phrase.", parts=("sam3",), can=(PLURAL, NO_MATCH)),
    "sam3-lite": NamedModel(help="SAM 3 with a small text encoder.", parts=("sam3-lite",), can=(PLURAL, NO_MATCH)),
    "florence2": NamedModel(
        help="Florence-2 writes the polygons of one answer as tokens.", parts=("florence2",), can=()
    ),
    "owlv2+sam2": NamedModel(
        help="OWLv2 finds boxes by the phrase, SAM 2 segments them.",
        parts=("owlv2", "sam2"),
        can=(PLURAL, NO_MATCH),
    ),
    "grounding-dino+sam": NamedModel(
        help="Grounding DINO finds boxes by the phrase, SAM segments them (Grounded SAM).",
        parts=("grounding-dino", "sam"),
        can=(PLURAL, NO_MATCH),
    ),
    "rf-detr+sam2+chooser": NamedModel(
        help="RF-DETR finds COCO's objects, mini's box selector chooses, SAM 2 segments.",
        parts=("rf-detr", "sam2"),
        can=(PLURAL, NO_MATCH, CLASSES),
    ),
    GLOBAL_LOCAL: NamedModel(
        help="CLIP chooses among mini's instances, without training (see `risctl zeroshot`).",
        parts=("clip",),
        can=(),
    ),
}
"""The models that `risctl models ls` lists. Other pipelines of the parts work too: mask2former+chooser."""

TRACKERS = ("sam2", "edgetam", "sam3")
"""The names of weights that carry a mask through a video (`--tracker`)."""
