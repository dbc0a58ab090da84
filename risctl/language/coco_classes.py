"""Lists COCO's 80 classes and their two published divisions into seen and unseen ones, in the published order.

48/17: Bansal et al., "Zero-Shot Object Detection" (2018); 65/15: Rahman et al., "Polarity Loss" (2018).
"""

from __future__ import annotations

from dataclasses import dataclass

_NAMES = (
    "person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant - stop_sign "
    "parking_meter bench bird cat dog horse sheep cow elephant bear zebra giraffe - backpack umbrella - - handbag "
    "tie suitcase frisbee skis snowboard sports_ball kite baseball_bat baseball_glove skateboard surfboard "
    "tennis_racket bottle - wine_glass cup fork knife spoon bowl banana apple sandwich orange broccoli carrot "
    "hot_dog pizza donut cake chair couch potted_plant bed - dining_table - - toilet - tv laptop mouse remote "
    "keyboard cell_phone microwave oven toaster sink refrigerator - book clock vase scissors teddy_bear hair_drier "
    "toothbrush"
)
_UNSEEN_48_17 = (
    "bus dog cow elephant umbrella tie skateboard cup knife cake couch keyboard sink scissors airplane cat snowboard"
)

CLASSES: dict[int, str] = {
    number: name.replace("_", " ") for number, name in enumerate(_NAMES.split(), start=1) if name != "-"
}
"""Names by COCO's category ids, which have gaps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassSplit:
    """A division of classes, in the order of the published word vectors.

    Attributes:
        seen: Classes that are trained on.
        unseen: Classes that are tested on only.
    """

    seen: tuple[str, ...]
    unseen: tuple[str, ...]


def _split_65_15() -> ClassSplit:
    ids = (5, 7, 14, 17, 23, 33, 34, 36, 48, 54, 58, 70, 74, 80, 89)
    return ClassSplit(
        seen=tuple(name for number, name in CLASSES.items() if number not in ids),
        unseen=tuple(CLASSES[number] for number in ids),
    )


def _split_48_17() -> ClassSplit:
    """Returns the 48/17 split.

    Both parts are in the order of 65/15, which puts its own unseen classes last; classes with names of two words are in
    neither part.
    """
    unseen = frozenset(_UNSEEN_48_17.split())
    other = _split_65_15()
    order = (*other.seen, *other.unseen)
    return ClassSplit(
        seen=tuple(name for name in order if name not in unseen and " " not in name),
        unseen=tuple(name for name in order if name in unseen),
    )


SPLITS: dict[str, ClassSplit] = {"48_17": _split_48_17(), "65_15": _split_65_15()}
