"""`risctl prepare features`: the outputs of a recipe's frozen encoders, computed once."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from risctl.cli import console
from risctl.cli.options import Device, DeviceOption, JsonOption, OverridesArgument, QuietOption, complete_recipe
from risctl.cli.ray_options import ActorsOption, AddressOption, EngineName, GpusOption, actors_of
from risctl.errors import UsageError

if TYPE_CHECKING:
    from risctl.recipe.schema import Recipe
    from risctl.training.features.extract import FeaturePlan

EPILOG = "Example: risctl prepare features data/refcoco_unc.h5 --recipe vlt-refcoco --dry-run"


def features(
    store: Annotated[Path, typer.Argument(help="The store whose training split is encoded.", show_default=False)],
    overrides: OverridesArgument = None,
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe",
            "-r",
            help="A recipe file, or the name of a shipped recipe, whose frozen encoders are run.",
            autocompletion=complete_recipe,
            show_default=False,
        ),
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The file to write. Default: STORE.RECIPE.features.h5 beside the store, which "
            "data.features=auto finds.",
            show_default=False,
        ),
    ] = None,
    shard: Annotated[
        str,
        typer.Option(metavar="K/N", help="Write the K-th of N parts; several processes or machines write one each."),
    ] = "1/1",
    join: Annotated[
        bool, typer.Option("--join", help="Join shards that are there; compute nothing. The last one joins by itself.")
    ] = False,
    engine: Annotated[
        EngineName,
        typer.Option(help="local: this process. ray: Ray Data, on a cluster; pip install 'risctl[ray]'."),
    ] = EngineName.local,
    shards: Annotated[
        int | None,
        typer.Option(min=1, max=1_000_000, help="Ray: into how many shards. Default: 4 an actor.", show_default=False),
    ] = None,
    address: AddressOption = None,
    actors: ActorsOption = "1",
    gpus: GpusOption = 0.0,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures of one size that are encoded together.")] = 8,
    workers: Annotated[int, typer.Option(min=0, help="Processes that decode pictures; 0: none.")] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be written and how much; write nothing.")
    ] = False,
    device: DeviceOption = Device.auto,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Encode the pictures (and texts) of a store once, with the encoders that a recipe keeps frozen.

    Training with data.features=auto then reads these features in the place of pictures. They are of the weights, the
    preprocessing and the version that made them, and refused when any of them changed. data.augment.flip keeps both
    orientations, twice the disk; other random changes of the pictures cannot be had with features. Of data.also, every
    store gets a file of its own. Videos have none: which frames a video backbone sees together is drawn anew each time.

    The disk that they take is said first, in all and for 1,000 pictures. They save the time of the frozen part: where
    that is a small share of a step, little.

    An interrupted run goes on where it stopped when it is started again.
    """
    from risctl.data.store.reader import Store
    from risctl.devices import pick_device
    from risctl.recipe.load import load_recipe
    from risctl.training.features.attach_features import differs_in_batches
    from risctl.training.features.extract import FeatureRun, finish
    from risctl.training.features.keys import default_path

    if not recipe:
        raise UsageError("name the recipe whose encoders are to run: --recipe NAME (`risctl recipes ls`)")
    part = _shard(shard)
    changes = [*(overrides or ()), f"data.store={store}"]
    chosen = load_recipe(recipe, changes)
    on_ray = engine is EngineName.ray
    if on_ray and (part != (1, 1) or join):
        raise UsageError("--engine ray gives out the shards and joins them; leave --shard and --join out")
    if shards is not None and not on_ray:
        raise UsageError("--shards is of --engine ray; several processes take --shard K/N")
    lowest, highest = actors_of(actors)
    if out is not None and chosen.data.also:
        raise UsageError("--out names one file, and data.also gives each store its own, beside it; leave --out out")
    with console.quiet_if(quiet), ExitStack() as open_stores:
        stores = [open_stores.enter_context(Store(Path(one))) for one in chosen.data.stores]
        if join:
            paths = [out or default_path(chosen, one.path) for one in stores]
            joined = [str(_joined(path, count=part[1])) for path in paths]
            console.result(joined, data=_together([{"features": one} for one in joined]), as_json=as_json)
            return
        run = FeatureRun(chosen, stores[0], also=stores[1:], dry=dry_run or on_ray)
        plans = [run.plan(one, path=out, shard=part) for one in stores]
        descriptions = [_described(plan) for plan in plans]
        differs = bool(plans[0].layout.key.images) and differs_in_batches(chosen, stores, run.system)
        if differs:
            console.say(
                f"note: data.features=auto passes these over at data.batch_size={chosen.data.batch_size}: pictures of "
                "several sizes are filled up in a batch, which shows in what the backbone makes of them"
            )
        if dry_run:
            told = [f"{one}\n{plan.out} not written" for one, plan in zip(descriptions, plans, strict=True)]
            console.result("\n".join(told), data=_together([_data(plan) for plan in plans]), as_json=as_json)
            return
        for one in descriptions:
            console.say(one)
        lines: list[str] = []
        whole: list[Path | None] = []
        if on_ray:
            from risctl.labelling.ray_features import FeatureTask, write_shards

            count = shards or 4 * highest
            task = FeatureTask(
                recipe=recipe,
                changes=tuple(changes),
                out=out,
                batch=batch_size,
                workers=workers,
                device=device.value,
                folder=str(Path.cwd()),
            )
            with console.counting("shards") as advance:
                write_shards(task, count, address=address, actors=(lowest, highest), gpus=gpus, progress=advance)
            whole = [finish(plan.path, count) for plan in plans]
            lines = [str(one) for one in whole]
        for plan in plans if not on_ray else ():
            with console.counting("features") as advance:
                written = run.write(
                    plan, device=pick_device(device.value), batch=batch_size, workers=workers, progress=advance
                )
            lines.append(str(written))
            whole.append(finish(plan.path, part[1]))
            if whole[-1] is None:
                lines.append(f"shard {shard} is done; the last of {part[1]} joins them at {plan.path}")
        if None not in whole:
            if differs and len(plans) > 1:  # Of several, no file can be named.
                changes.append("data.batch_size=1")
                differs = False
            changes.append(f"data.features={plans[0].path if differs or not _is_default(plans, chosen) else 'auto'}")
            lines.append(f"use it: {shlex.join(['risctl', 'train', recipe, *changes])}")
        data = [_data(plan) | {"written": str(plan.out)} for plan in plans]
        console.result(lines, data=_together(data), as_json=as_json)


def _is_default(plans: Sequence[FeaturePlan], recipe: Recipe) -> bool:
    from risctl.training.features.keys import default_path

    return all(plan.path == default_path(recipe, plan.store.path) for plan in plans)


def _together(stores: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns the data of the first store, with that of the others as `also`."""
    first, *also = stores
    return first | {"also": also} if also else first


def _joined(path: Path, *, count: int) -> Path:
    from risctl.data.features.joining import join, present_shards

    present = present_shards(path)
    counts = [count] if count > 1 else sorted(present)
    if len(counts) != 1:
        found = ", ".join(f"of {one}" for one in counts) or "none"
        raise UsageError(f"expected the shards of one set beside {path}, found {found}; say which with --shard 1/N")
    return join(path, counts[0])


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= count:
        raise UsageError(f"--shard takes K/N with K from 1 to N, as in 2/8; got {text!r}")
    return number, count


def _described(plan: FeaturePlan) -> str:
    number, count = plan.layout.shard
    kinds = " and ".join(f"{total:,} {name}" for name, total in plan.total.items())
    twice = ", both orientations" if plan.layout.key.orientations > 1 else ""
    thousand = f"; {_bytes(1000 * plan.each)} for 1,000 pictures" if plan.each else ""
    own = f"; this shard {number} of {count}: {_bytes(plan.need)}" if count > 1 else ""
    of = f"{kinds} of {plan.layout.split!r} of {plan.store.path.name}{twice}"
    return f"features of {of}: {_bytes(plan.need_all)}{thousand}{own}; free at {plan.out.parent}: {_bytes(plan.free)}"


def _data(plan: FeaturePlan) -> dict[str, Any]:
    return {
        "features": str(plan.path),
        "file": str(plan.out),
        "split": plan.layout.split,
        "samples": plan.total,
        "pictures": plan.pictures,
        "orientations": plan.layout.key.orientations,
        "bytes": plan.need,
        "bytes_all_shards": plan.need_all,
        "bytes_a_thousand_pictures": 1000 * plan.each,
        "bytes_free": plan.free,
    }


def _bytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
