"""Losses of ReLA: cross-entropies of the mask, of the minimap and of "no target" (Liu et al., CVPR 2023, section 4.4).

Follows the published code (henghuiding/ReLA, 3ca9551), which weighs the classes in all three.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from risctl.core.losses.mask import weighted_cross_entropy

CLASS_WEIGHTS = (0.9, 1.1)
"""Of background and target, and likewise of "there is a target" and "there is none"."""

WEIGHTS = {"mask": 5.0, "minimap": 0.5, "no_target": 0.5}


def minimap_targets(masks: Tensor, grid: tuple[int, int]) -> Tensor:
    """Returns which regions are all target, int64 (B, rows * columns), of masks (B, H, W) of 0 and 1.

    As published, the mask is sampled bilinearly at the regions' centres and truncated: a region counts only where all
    pixels around its centre are target. At sizes that are not multiples of 20, rounding can lose such a region.
    """
    sampled = functional.interpolate(masks[:, None].float(), size=grid, mode="bilinear", align_corners=False)
    return sampled.long().flatten(1)


def region_losses(
    mask_logits: Tensor, minimap: Tensor, no_target: Tensor, *, masks: Tensor, absent: Tensor, grid: tuple[int, int]
) -> dict[str, Tensor]:
    """Returns the unweighted terms "mask", "minimap" and "no_target"; `WEIGHTS` has their factors.

    Args:
        mask_logits: (B, 2, h, w), brought to the masks' size bilinearly.
        minimap: (B, R, 2).
        no_target: (B, 2).
        masks: Targets (B, H, W) of 0 and 1, empty where there is no target.
        absent: Bool (B,), True where there is no target.
        grid: Rows and columns of the regions.
    """
    full = functional.interpolate(mask_logits.float(), size=masks.shape[1:], mode="bilinear", align_corners=False)
    return {
        "mask": weighted_cross_entropy(full[:, 1] - full[:, 0], masks, weights=CLASS_WEIGHTS),
        "minimap": weighted_cross_entropy(
            minimap[..., 1] - minimap[..., 0], minimap_targets(masks, grid), weights=CLASS_WEIGHTS
        ),
        "no_target": weighted_cross_entropy(no_target[:, 1] - no_target[:, 0], absent.float(), weights=CLASS_WEIGHTS),
    }
