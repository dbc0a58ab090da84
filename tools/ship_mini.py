"""Converts a finished run of mini to the model that the package ships: weights only, in half precision.

    python tools/ship_mini.py runs/mini risctl/models/mini.safetensors model.no_target_threshold=0.3

Further arguments override the recipe in the file's header, such as thresholds chosen after training. Refuses a model
that is too large (6 M parameters, 14 MB) or does not fit half precision.
"""

from __future__ import annotations

import sys
from pathlib import Path

from risctl.checkpoints.checkpoint import save_checkpoint
from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.errors import CheckpointError, RisctlError
from risctl.recipe.load import parse_recipe

MAX_PARAMETERS = 6_000_000
MAX_BYTES = 14_000_000
# What every checkpoint has anyway, told anew of the new file.
_OWN = ("format_version", "risctl", "recipe", "vocabulary", "sha256")


def ship(run: Path, out: Path, *, overrides: list[str]) -> str:
    """Writes `out` and returns a one-line summary.

    Raises:
        CheckpointError: If the model cannot be shipped.
    """
    loaded = load_checkpoint(run)
    count = sum(parameter.numel() for parameter in loaded.system.parameters())
    if count > MAX_PARAMETERS:
        raise CheckpointError(f"{loaded.path} has {count} parameters; a shipped model has at most {MAX_PARAMETERS}")
    whole = {name: tensor.clone() for name, tensor in loaded.system.state_dict().items()}
    off = 0.0
    for name, tensor in loaded.system.half().state_dict().items():
        if not bool(tensor.isfinite().all()):
            raise CheckpointError(f"{name} of {loaded.path} does not fit half precision")
        off = max(off, float((tensor.float() - whole[name].float()).abs().max()))
    recipe = parse_recipe(loaded.recipe.model_dump(mode="json"), source=str(loaded.path), overrides=overrides)
    save_checkpoint(
        out,
        system=loaded.system,
        recipe=recipe,
        vocabulary=loaded.vocabulary,
        extra={key: value for key, value in loaded.header.items() if key not in _OWN},
    )
    size = out.stat().st_size
    if size > MAX_BYTES:
        out.unlink()
        raise CheckpointError(f"{out} would have {size} bytes; a shipped model has at most {MAX_BYTES}")
    load_checkpoint(out)
    return f"{out}: {count / 1e6:.2f} M parameters, {size / 1e6:.2f} MB, rounding errors of at most {off:.1e}"


def main() -> None:
    """Parses the command line."""
    if len(sys.argv) < 3:
        raise SystemExit((__doc__ or "").strip())
    try:
        print(ship(Path(sys.argv[1]), Path(sys.argv[2]), overrides=sys.argv[3:]))
    except RisctlError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
