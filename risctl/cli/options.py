"""Options and arguments that several subcommands share."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from risctl.data.store.reader import TextField


class Device(StrEnum):
    """The device to compute on. `auto` takes CUDA, else MPS, else the CPU."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


class Beside(StrEnum):
    """What figures are laid beside."""

    published = "published"


DeviceOption = Annotated[
    Device, typer.Option("--device", help="The device to compute on; auto takes CUDA, else MPS, else the CPU.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress or log messages on stderr.")]
ModelOption = Annotated[
    Path, typer.Option("--model", "-m", help="A run folder or a checkpoint file (.safetensors).", show_default=False)
]
AnyModelOption = Annotated[
    Path | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="A run folder, a checkpoint file (.safetensors), or a model by name: see `risctl models ls`. Default: the "
        "small model that comes with risctl.",
        show_default=False,
    ),
]
TrackerOption = Annotated[
    str | None,
    typer.Option(
        "--tracker",
        metavar="NAME",
        help="Videos: what carries the masks of the first frame through the others: sam2, edgetam, sam3, hf:OWNER/NAME "
        "or a folder in Hugging Face's layout. Any model of --model then finds the objects in the first frame.",
        show_default=False,
    ),
]
SurestOption = Annotated[
    bool,
    typer.Option(
        "--surest",
        help="Of a model of transformers: take its surest instance alone, not all above its threshold.",
    ),
]
ThresholdOption = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        help="A pixel belongs to the mask if its probability exceeds this. Default: that "
        "of the recipe's protocol, if it fixes one, else the recipe's, else 0.5.",
    ),
]
BatchOption = Annotated[
    str,
    typer.Option(
        "--batch",
        metavar="N|auto",
        help="Pictures that are encoded together. auto: as many as the memory of the GPU takes, 1 on a CPU.",
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Processes that compute on a CPU, each with one thread and pictures of its own. Default: as many as "
        "cores are free, 1 where OMP_NUM_THREADS is set.",
        show_default=False,
    ),
]
OverwriteOption = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace files that are there already. Without it, such a file is an error."),
]
OutFolderOption = Annotated[Path, typer.Option("--out", "-o", help="The folder to write to; created if absent.")]

VocabularyOption = Annotated[
    Path | None,
    typer.Option(
        "--vocabulary",
        help="For a CLIP's .pt: bpe_simple_vocab_16e6.txt.gz or a folder with a tokenizer. Default: next to the .pt.",
        show_default=False,
    ),
]

StoreOption = Annotated[
    Path, typer.Option("--data", "-d", help="A store made by `risctl prepare`.", show_default=False)
]
StoreArgument = Annotated[
    Path, typer.Argument(metavar="STORE", help="A store made by `risctl prepare`.", show_default=False)
]
SplitOption = Annotated[
    str, typer.Option("--split", "-s", help="A split of the store: val, test, testA, …; all for every one.")
]
TextFieldOption = Annotated[
    str | None,
    typer.Option("--text-field", help="Which form of the text: sent, raw or raw_lower. Default: the checkpoint's."),
]
StoredTextFieldOption = Annotated[
    str, typer.Option("--text-field", help="Which form of the text: sent, raw or raw_lower.")
]
RowsOption = Annotated[
    Path | None,
    typer.Option("--rows", help="Write one JSON line per sample to this file.", show_default=False),
]
BesideOption = Annotated[
    Beside | None,
    typer.Option(
        "--beside",
        help="published: print the papers' figures of the same dataset, split and protocol beside, with the difference "
        "and what differs.",
        show_default=False,
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of the random choice.")]
RootOption = Annotated[
    Path, typer.Option("--data-root", envvar="RISCTL_DATA", help="The folder of downloads and stores.")
]


def batch_of(text: str) -> int | str:
    """Returns the number that `--batch` names, or `auto`. Raises `UsageError` for anything else."""
    from risctl.errors import UsageError

    if text == "auto":
        return text
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise UsageError(f"expected --batch as a number from 1 to 1024, or auto, got {text!r:.40}")
    return int(text)


def text_field_of(name: str) -> TextField:
    """Returns `name` as a text field. Raises `UsageError` for an unknown one."""
    from risctl.data.store.rows import TEXT_FIELDS
    from risctl.errors import UsageError, unknown_name

    if name not in TEXT_FIELDS:
        raise UsageError(unknown_name("text field", name, TEXT_FIELDS))
    return cast("TextField", name)


def complete_protocol(incomplete: str) -> list[str]:
    """Returns the completions of a list of protocols."""
    from risctl.metrics.protocols import PROTOCOLS, VIDEO_PROTOCOLS

    named, comma, begun = incomplete.rpartition(",")
    return [f"{named}{comma}{name}" for name in (*PROTOCOLS, *VIDEO_PROTOCOLS) if name.startswith(begun)]


def complete_recipe(incomplete: str) -> list[str]:
    """Returns the completions of a recipe: shipped names, and the folders and YAML files under the cursor."""
    from risctl.recipe.shipped import shipped_ablations, shipped_recipes

    folder = Path(incomplete if incomplete.endswith(os.sep) else os.path.dirname(incomplete))  # noqa: PTH120  "a/" stays
    try:
        beside = sorted(path for path in folder.expanduser().iterdir() if not path.name.startswith("."))
    except OSError:
        beside = []
    start = incomplete[: incomplete.rfind(os.sep) + 1]
    files = [start + path.name for path in beside if path.suffix in (".yaml", ".yml")]
    folders = [start + path.name + os.sep for path in beside if path.is_dir()]
    # All ablations at once would hide the recipes: they are offered once a name is begun.
    ablations = shipped_ablations() if incomplete else ()
    return [known for known in (*shipped_recipes(), *ablations, *files, *folders) if known.startswith(incomplete)]


def complete_shipped(incomplete: str) -> list[str]:
    """Returns the completions of a shipped recipe's name."""
    from risctl.recipe.shipped import shipped_ablations, shipped_recipes

    return [name for name in (*shipped_recipes(), *shipped_ablations()) if name.startswith(incomplete)]


RecipeArgument = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="A recipe file, or the name of a shipped recipe.",
        autocompletion=complete_recipe,
        show_default=False,
    ),
]
ShippedArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="The name of a shipped recipe.", autocompletion=complete_shipped, show_default=False
    ),
]
OverridesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE|~KEY",
        help="Changes to the recipe: optim.lr=3e-4 sets a key, ~data.augment removes one.",
        show_default=False,
    ),
]
