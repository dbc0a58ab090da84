r"""Converts a finished run of mini to the model that the package ships: weights only, in half precision.

    python tools/ship_mini.py runs/mini/3-joint risctl/models/mini.safetensors --with runs/mini/4-refined:0.35 \
        model.no_target_threshold=0.05

`--with OTHER:SHARE` averages the weights with those of a run that began with them, which then count for SHARE. Further
arguments override the recipe in the file's header, such as thresholds chosen after training. Refuses a model that is
too large (6 M parameters, 14 MB) or does not fit half precision.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from risctl.checkpoints.checkpoint import save_checkpoint
from risctl.checkpoints.loaded_model import LoadedModel, load_checkpoint
from risctl.errors import CheckpointError, RisctlError
from risctl.recipe.load import parse_recipe
from risctl.systems.mini.model import Mini

MAX_PARAMETERS = 6_000_000
MAX_BYTES = 14_000_000
# What every checkpoint has anyway, told anew of the new file.
_OWN = ("format_version", "risctl", "recipe", "vocabulary", "sha256")


def ship(run: Path, out: Path, *, overrides: list[str], other: tuple[Path, float] | None = None) -> str:
    """Writes `out` and returns a one-line summary.

    Args:
        run: A finished run or a checkpoint.
        out: The file to write.
        overrides: Changes of the recipe, KEY=VALUE.
        other: A run to average the weights with, and the share in [0, 1] that its weights have.

    Raises:
        CheckpointError: If the model cannot be shipped, or `other` is of another model.
    """
    loaded = load_checkpoint(run)
    if other is not None:
        _average(loaded, *other)
    if isinstance(loaded.system, Mini):
        # What the projected vectors add to the words' rows becomes part of them: the file needs no vectors.
        loaded.system.float().box_selector.words.fold()
        overrides = ["model.text.vectors=null", *overrides]
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


def _average(loaded: LoadedModel, path: Path, share: float) -> None:
    """Replaces the weights of `loaded` by their mean with those of `path`; equal ones stay as they are, bit for bit."""
    second = load_checkpoint(path)
    own, theirs = loaded.system.float().state_dict(), second.system.float().state_dict()
    if {name: value.shape for name, value in own.items()} != {name: value.shape for name, value in theirs.items()}:
        raise CheckpointError(f"{path} is of another model than {loaded.path}: their weights cannot be averaged")
    if loaded.vocabulary.to_list() != second.vocabulary.to_list():
        raise CheckpointError(f"{path} has other words than {loaded.path}: their weights cannot be averaged")
    loaded.system.load_state_dict(
        {
            name: value if torch.equal(value, theirs[name]) else (1 - share) * value + share * theirs[name]
            for name, value in own.items()
        }
    )


def _with(text: str) -> tuple[Path, float]:
    """Returns the run and the share of `OTHER:SHARE`."""
    path, _, share = text.rpartition(":")
    try:
        value = float(share)
    except ValueError:
        value = -1.0
    if not path or not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected OTHER:SHARE with a share from 0 to 1, got {text!r}")
    return Path(path), value


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--with", dest="other", type=_with, metavar="OTHER:SHARE")
    given = parser.parse_intermixed_args()
    try:
        print(ship(given.run, given.out, overrides=given.overrides, other=given.other))
    except RisctlError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
