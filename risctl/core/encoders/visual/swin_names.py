"""Maps the parameter names of the published Swin code (microsoft/Swin-Transformer) to ours."""

from __future__ import annotations

import re

_BLOCK = {
    "attn.relative_position_bias_table": "attention.table",
    "attn.qkv": "attention.qkv",
    "attn.proj": "attention.out",
    "mlp.fc1": "first",
    "mlp.fc2": "second",
    "norm1": "norm1",
    "norm2": "norm2",
}
_TOPS = (
    (r"patch_embed\.proj\.", "patches."),
    (r"patch_embed\.norm\.", "patch_norm."),
    (r"norm(\d)\.", r"norms.\1."),
    (r"layers\.(\d)\.downsample\.", r"merges.\1."),
    (r"downsamples\.(\d)\.", r"merges.\1."),
)


def swin_name(name: str) -> str | None:
    """Returns the name in our `Swin` of a parameter of a published one, None if it has none."""
    match = re.match(r"layers\.(\d)\.blocks\.(\d+)\.", name)
    if match:
        rest, prefix = name[match.end() :], match.expand(r"stages.\1.\2.")
        for theirs, ours in _BLOCK.items():
            if rest == theirs or rest.startswith(f"{theirs}."):
                return prefix + ours + rest[len(theirs) :]
        return None
    for pattern, prefix in _TOPS:
        match = re.match(pattern, name)
        if match:
            return match.expand(prefix) + name[match.end() :]
    return None
