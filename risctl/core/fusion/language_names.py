"""Maps the names of published language-gated Swin backbones (LAVT, ReLA) to those of our `LanguageBackbone`."""

from __future__ import annotations

import re

from torch import Tensor

from risctl.core.encoders.visual.swin_names import swin_name

_FUSION = {
    "vis_project.0": "visual",
    "image_lang_att.f_query.0": "query",
    "image_lang_att.f_key.0": "key",
    "image_lang_att.f_value.0": "value",
    "image_lang_att.W.0": "out",
    "project_mm.0": "project",
}
CONSTANTS = re.compile(r".*\.(relative_position_index|attn_mask)$")
"""Names of buffers that follow from the window."""


def language_backbone_name(name: str) -> str | None:
    """Returns our name of a published key without its `backbone.`, None if it has none."""
    match = re.match(r"layers\.(\d)\.fusion\.(.+)\.(weight|bias)$", name)
    if match:
        ours = _FUSION.get(match[2])
        return None if ours is None else f"gates.{match[1]}.{ours}.{match[3]}"
    match = re.match(r"layers\.(\d)\.res_gate\.([02]\.weight)$", name)
    if match:
        return f"gates.{match[1]}.gate.{match[2]}"
    swin = swin_name(name)
    return swin if swin is None or swin.startswith("norms.") else f"backbone.{swin}"


def as_linear(ours: str, value: Tensor) -> Tensor:
    """Returns a value of the key `ours`: the published convolutions (out, in, 1) of the gates as matrices (out, in)."""
    return value[:, :, 0] if ".gates." in f".{ours}" and value.ndim == 3 and value.shape[2] == 1 else value
