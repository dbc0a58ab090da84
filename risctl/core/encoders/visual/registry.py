"""Lists the visual encoders that a recipe can name, and builds them.

Every system builds its backbone here. What its fusion takes of it is a `VisualInput`; an encoder whose maps do not fit
is refused with the names of those that do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from risctl.core.encoders.section import ANY_PRETRAINED, PRETRAINED, is_pretrained
from risctl.errors import RecipeError, unknown_name

if TYPE_CHECKING:
    from torch import nn

VisualSection = Any
"""`risctl.core.encoders.visual.config.VisualSection`, which is checked by the entries below and stands above them."""

PYRAMID = (4, 8, 16, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class VisualInput:
    """The feature maps that a system's fusion takes.

    Attributes:
        strides: The strides of the maps, finest first; empty: any maps, as many as the encoder has.
        dilated: Whether an encoder that has a dilated form (five maps at strides 4, 4, 8, 8, 8) is built in it.
        norms: How the batch norms of a ResNet train: `trained`; `frozen`, as in DETR; `scales`: statistics frozen,
            scales and shifts trained, as in mmdetection.
        trained_stem: Whether the first convolution and stage of a ResNet with frozen norms train.
        norm_momentum: Momentum of the batch norms of encoders that leave it to the system (Darknet-53).
        depth: How many maps a dilated encoder is built with.
        staged: Whether the system runs the encoder stage by stage (`StagedBackbone`), to put something between stages.
        pooled: Whether the last map of CLIP's ResNets goes through their attention pool, as in CRIS.
    """

    strides: tuple[int, ...] = PYRAMID
    dilated: bool = False
    norms: Literal["trained", "frozen", "scales"] = "frozen"
    trained_stem: bool = False
    norm_momentum: float = 0.1
    depth: int = 5
    staged: bool = False
    pooled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VisualEntry:
    """One encoder of the registry.

    Attributes:
        build: Builds it with random weights.
        strides: The strides of its maps; empty: it only has a dilated form.
        dilated: Whether it has a dilated form.
        options: The recipe fields that it takes beside `name`, `weights` and `frozen`, with their defaults.
        published: The names of weights that `weights` can hold in place of a file.
        staged: Whether it can be run stage by stage.
    """

    build: Callable[[VisualSection, VisualInput], nn.Module]
    strides: tuple[int, ...] = PYRAMID
    dilated: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    published: tuple[str, ...] = ()
    staged: bool = False

    def fits(self, wanted: VisualInput) -> bool:
        """Says whether the encoder has the maps that a fusion takes."""
        if wanted.staged and not self.staged:
            return False
        if wanted.dilated and self.dilated:
            return True
        return bool(self.strides) and set(wanted.strides) <= set(self.strides)


def build_visual(section: VisualSection, *, wanted: VisualInput | None = None, pretrained: bool = True) -> nn.Module:
    """Builds the visual encoder of a recipe's `model.visual` section. On the meta device no weights are read.

    Args:
        section: The section.
        wanted: The maps that the system's fusion takes; None: as the section's class says.
        pretrained: Whether to read `section.weights`; False where a checkpoint follows.

    Returns:
        A module with `channels` and `strides`, see `risctl.core.encoders.base`.

    Raises:
        RecipeError: The maps of a backbone of transformers do not fit.
        CheckpointError: The weights cannot be read, or are those of another encoder.
        MachineError: The weights cannot be downloaded.
    """
    from risctl.core.encoders.load_weights import load_backbone
    from risctl.core.encoders.visual.adapted import adapted

    wanted = wanted or section.wanted
    build = partial(find_visual(section.name).build, section, wanted)
    if pretrained and section.weights is not None and is_pretrained(section.name):
        from risctl.core.encoders.model_config import check_fits

        # Without its configuration, the name is what is read first.
        check_fits(section.weights, build, option=f"model.visual.{'weights' if section.config else 'name'}")
    encoder = build()
    if pretrained and section.weights is not None and not next(encoder.parameters()).is_meta:
        if is_pretrained(section.name):
            encoder.load(section.weights)  # type: ignore[operator]
        else:
            beyond = tuple(f"layer{number}." for number in range(wanted.depth, 5)) if wanted.dilated else ()
            load_backbone(encoder, section.name, section.weights, ignored=beyond)
    missing = set(wanted.strides) - set(encoder.strides)  # type: ignore[arg-type]
    if missing:
        raise RecipeError(
            f"model.visual.name: expected maps at strides {_listed(wanted.strides)}; {section.name} has "
            f"{_listed(encoder.strides)}. These fit: {', '.join(fitting(wanted))}"  # type: ignore[arg-type]
        )
    native = not wanted.strides or encoder.strides == wanted.strides or (wanted.dilated and not missing)
    return encoder if native else adapted(encoder, wanted.strides)


def find_visual(name: str) -> VisualEntry:
    """Returns the entry of an encoder. Raises `RecipeError` for a name that there is not."""
    if is_pretrained(name):
        return _TRANSFORMERS
    if name not in VISUAL_ENCODERS:
        raise RecipeError(unknown_name("visual encoder", name, VISUAL_ENCODERS))
    return VISUAL_ENCODERS[name]


def fitting(wanted: VisualInput) -> list[str]:
    """Returns the names of the encoders that have the maps that a fusion takes."""
    names = [name for name, entry in VISUAL_ENCODERS.items() if entry.fits(wanted)]
    return names if wanted.staged else [*names, ANY_PRETRAINED]


def _listed(strides: tuple[int, ...]) -> str:
    return ", ".join(map(str, strides))


def _darknet53(section: VisualSection, wanted: VisualInput) -> nn.Module:
    from risctl.core.encoders.visual.darknet53 import Darknet53

    frozen = 58 if section.frozen else section.frozen_convolutions
    return Darknet53(
        frozen_convolutions=frozen, batch_statistics=section.batch_statistics, norm_momentum=wanted.norm_momentum
    )


def _small_cnn(section: VisualSection, wanted: VisualInput) -> nn.Module:
    from risctl.core.encoders.visual.small_cnn import SmallCNN
    from risctl.core.encoders.visual.small_frames import SmallFrames

    if wanted.dilated:
        return _dilated(section, wanted)
    return SmallCNN(frozen=section.frozen) if 4 not in wanted.strides else SmallFrames(frozen=section.frozen)


def _resnet(section: VisualSection, wanted: VisualInput) -> nn.Module:
    from risctl.core.encoders.visual.frozen_resnet import FrozenResNet
    from risctl.core.encoders.visual.resnet import ResNet

    if wanted.dilated:
        return _dilated(section, wanted)
    if wanted.norms == "trained":
        return ResNet(section.name, frozen=section.frozen)
    scales = wanted.norms == "scales"
    return FrozenResNet(
        section.name,
        frozen=section.frozen,
        learned_scales=scales,
        zero_residual=scales,
        trained_stem=wanted.trained_stem,
    )


def _dilated(section: VisualSection, wanted: VisualInput) -> nn.Module:
    from risctl.core.encoders.visual.dilated_resnet import DilatedResNet

    return DilatedResNet(
        section.name,
        depth=wanted.depth,
        frozen_stages=5 if section.frozen else section.frozen_stages,
        frozen_norms=section.frozen or section.frozen_norms,
    )


def _mobilenet(section: VisualSection, wanted: VisualInput) -> nn.Module:
    from risctl.core.encoders.visual.mobilenet import MobileNetV2

    return MobileNetV2(trained=section.weights is not None, frozen=section.frozen)


def _swin(section: VisualSection, wanted: VisualInput) -> nn.Module:
    from risctl.core.encoders.visual import swin

    return swin.Swin(
        swin.NUMBERS[section.name],
        window=section.window or _WINDOW,
        frozen=section.frozen,
        drop_path=section.drop_path,
        output_norms=not wanted.staged,
    )


def _shufflenet(section: VisualSection, wanted: VisualInput) -> nn.Module:
    from risctl.core.encoders.visual.shufflenet import ShuffleNet

    return ShuffleNet(frozen=section.frozen)


def _clip_resnet(section: VisualSection, wanted: VisualInput) -> nn.Module:
    from risctl.core.encoders.visual.clip_resnet_maps import NUMBERS, CLIPResNetMaps

    return CLIPResNetMaps(
        NUMBERS[section.name],
        strides=wanted.strides or PYRAMID,
        pooled=wanted.pooled,
        norms=wanted.norms,
        frozen=section.frozen,
    )


def _transformers(section: VisualSection, wanted: VisualInput) -> nn.Module:
    from risctl.core.encoders.visual.transformers_backbone import TransformersBackbone, read_config

    config = section.config or read_config(section.name.removeprefix(PRETRAINED))
    return TransformersBackbone(config, strides=wanted.strides, frozen=section.frozen)


_WINDOW = 7
DILATED_OPTIONS = {"frozen_stages": 0, "frozen_norms": False}
_TRANSFORMERS = VisualEntry(build=_transformers, options={"config": None})

VISUAL_ENCODERS: dict[str, VisualEntry] = {
    "darknet53": VisualEntry(
        build=_darknet53, strides=(8, 16, 32), options={"frozen_convolutions": 56, "batch_statistics": True}
    ),
    "small_cnn": VisualEntry(build=_small_cnn, dilated=True, options=DILATED_OPTIONS, staged=True),
    "resnet18": VisualEntry(build=_resnet, dilated=True, options=DILATED_OPTIONS, published=("imagenet",), staged=True),
    "resnet50": VisualEntry(
        build=_resnet, dilated=True, options=DILATED_OPTIONS, published=("imagenet", "deeplabv3"), staged=True
    ),
    "resnet101": VisualEntry(
        build=_resnet, dilated=True, options=DILATED_OPTIONS, published=("imagenet", "deeplabv3"), staged=True
    ),
    "deeplab_resnet101": VisualEntry(build=_dilated, strides=(), dilated=True, options=DILATED_OPTIONS),
    "mobilenet_v2": VisualEntry(build=_mobilenet, published=("imagenet",)),
    "shufflenet": VisualEntry(build=_shufflenet),
    **{f"clip_resnet{size}": VisualEntry(build=_clip_resnet) for size in ("50", "101", "50x4", "50x16", "50x64")},
    **{
        f"swin_{size}": VisualEntry(build=_swin, options={"drop_path": 0.2, "window": _WINDOW}, staged=True)
        for size in "tsbl"
    },
    **{f"video_swin_{size}": VisualEntry(build=_swin, options={"drop_path": 0.2}) for size in "tsb"},
}
"""The visual encoders by the name that `model.visual.name` holds."""
