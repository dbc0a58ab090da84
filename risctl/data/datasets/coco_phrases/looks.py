"""Makes phrases about how the objects of an image look: colours of clothes and of things, told apart from their peers.

A phrase is made where its colour covers clearly more of the target than of every other object of its class, as people
name the colour that tells objects apart, and not only a colour that dominates.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import numpy as np

from risctl.data.datasets.coco_phrases.colours import COLOURLESS, FURRED
from risctl.data.datasets.coco_phrases.lexicon import nouns
from risctl.language.clothing import LOWER, TOP, UPPER, WHOLE
from risctl.vision.colour_names import NAMES

REGIONS = (UPPER, LOWER, TOP, WHOLE)
"""The regions whose shares of colours are given, in their order."""
_SEEN, _LEAD = 0.3, 0.15  # share of a colour that is seen, and by how much it exceeds that of every peer
_LEAST_AREA, _PEER = 0.008, 0.15
# How much more often people name a colour than it is seen, roughly: everything is somewhat gray or brown.
_NAMED_AS_SEEN = np.array([0.7, 1.2, 0.25, 1.5, 1.5, 1.5, 1.2, 1.5, 1.5, 1.5, 0.4])
_REGION_SHARES = {UPPER: 70, LOWER: 20, TOP: 10}
_FORMS: Mapping[str, Mapping[str, float]] = {
    UPPER: {
        "{n} in {c}": 20,
        "{n} in {c} shirt": 20,
        "{c} shirt": 14,
        "{n} with {c} shirt": 6,
        "{n} in the {c} shirt": 5,
        "{n} wearing {c}": 4,
        "{n} wearing {c} shirt": 4,
        "{n} wearing a {c} shirt": 4,
        "{n} in a {c} shirt": 4,
        "{n} {c} shirt": 4,
        "{c} shirt {n}": 2,
        "{c} jacket": 4,
        "{n} in {c} jacket": 5,
        "{n} in {c} coat": 2,
        "{n} in {c} top": 2,
        "{c} top": 2,
        "{n} in {c} sweater": 1,
        "{n} in {c} jersey": 1,
        "{n} with {c} jacket": 1,
        "a {n} wearing a {c} jacket": 1,
        "{c} {n}": 4,
        "{c}": 3,
        "in {c}": 2,
    },
    LOWER: {
        "{n} in {c} pants": 6,
        "{c} pants": 8,
        "{n} with {c} pants": 4,
        "{c} shorts": 5,
        "{n} in {c} shorts": 3,
        "{n} wearing {c} shorts": 1,
        "{n} with {c} shorts": 2,
        "{n} wearing {c} pants": 1,
        "{c} skirt": 1,
        "{n} in {c} skirt": 1,
    },
    TOP: {"{c} hair": 3, "{n} with {c} hair": 3, "{c} hat": 2, "{n} in {c} hat": 2, "{c} cap": 1, "{c} helmet": 1},
    WHOLE: {
        "{c} {n}": 60,
        "the {c} {n}": 8,
        "{n} {c}": 3,
        "{c}": 4,
        "{c} one": 5,
        "a {c} {n}": 3,
        "{n} that is {c}": 1,
        "the {c} one": 2,
    },
}


def phrase_about_looks(
    corners: np.ndarray, categories: Sequence[str], shares: np.ndarray, rng: random.Random
) -> tuple[str, int] | None:
    """Returns a phrase about the colour of one object and its index, None where no colour tells one apart.

    Args:
        corners: xyxy as fractions of the image's sides, (N, 4).
        categories: N names of categories.
        shares: How much of each of `REGIONS` has each colour name, (N, 4, names); zeros where that is not known.
        rng: Decides which phrase is made.
    """
    areas = (corners[:, 2:] - corners[:, :2]).prod(1)
    usable = [i for i in range(len(categories)) if shares[i].any() and areas[i] > _LEAST_AREA]
    usable = [i for i in usable if categories[i] not in COLOURLESS]
    rng.shuffle(usable)
    # People name a colour where there is something to tell apart.
    usable.sort(key=lambda i: sum(one == categories[i] for one in categories) < 2)
    for index in usable[:4]:
        category = categories[index]
        peers = [
            i
            for i in range(len(categories))
            if i != index and categories[i] == category and areas[i] > _PEER * min(areas[index], 0.2)
        ]
        if category == "person":
            region = rng.choices(list(_REGION_SHARES), weights=list(_REGION_SHARES.values()))[0]
        else:
            region = WHOLE
        own = _told(shares[index, REGIONS.index(region)], category)
        most = np.zeros(len(NAMES))
        for peer in peers:
            most = np.maximum(most, _told(shares[peer, REGIONS.index(region)], category))
        weights = np.where((own > _SEEN) & (own > most + _LEAD), own * _NAMED_AS_SEEN, 0.0)
        if not weights.any():
            continue
        colour = rng.choices(NAMES, weights=weights.tolist())[0]
        if rng.random() > _NAMED_AS_SEEN[NAMES.index(colour)]:
            continue
        words, counts = zip(*nouns(category), strict=True)
        noun = rng.choices(words, weights=counts)[0]
        forms = _FORMS[region]
        form = rng.choices(list(forms), weights=list(forms.values()))[0]
        if "{n}" not in form and any(other != category for other in categories) and region == WHOLE:
            form = "{c} {n}"
        if colour == "gray" and rng.random() < 0.4:
            colour = "grey"
        return form.format(n=noun, c=colour), index
    return None


def _told(shares: np.ndarray, category: str) -> np.ndarray:
    """Returns shares of colours as people name them of a category: of fur, what a camera sees as orange is brown."""
    if category not in FURRED:
        return shares
    told = shares.copy()
    red, orange, brown = (NAMES.index(name) for name in ("red", "orange", "brown"))
    told[brown] += told[red] + told[orange]
    told[red] = told[orange] = 0
    return told
