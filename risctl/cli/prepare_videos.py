"""`risctl prepare ref-youtube-vos`, `ref-davis17`, `a2d` and `jhmdb`: published videos with expressions into stores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from risctl.cli import console
from risctl.cli.options import JsonOption, QuietOption, RootOption

if TYPE_CHECKING:
    from risctl.data.records import Dataset
    from risctl.data.store.writer import StoreInfo

FromOption = Annotated[Path, typer.Option("--from", help="Folder of the published files.", show_default=False)]
OutOption = Annotated[
    Path | None, typer.Option("--out", "-o", help="The store to write; default: DATA_ROOT/SET.h5.", show_default=False)
]
LinkOption = Annotated[bool, typer.Option("--link", help="Keep the frames as files; store their paths.")]


def ref_youtube_vos(
    source: FromOption,
    out: OutOption = None,
    link: LinkOption = False,
    data_root: RootOption = Path("data"),
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Ref-YouTube-VOS: SPLIT/JPEGImages, SPLIT/Annotations and meta_expressions, as published."""
    from risctl.data.datasets.ref_video import read_ref_youtube_vos

    with console.quiet_if(quiet):
        with console.counting("read") as progress:
            dataset = read_ref_youtube_vos(source, progress=progress)
        _write(dataset, out or data_root / "ref-youtube-vos.h5", link=link, as_json=as_json)


def ref_davis17(
    source: FromOption,
    out: OutOption = None,
    link: LinkOption = False,
    data_root: RootOption = Path("data"),
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Ref-DAVIS17: DAVIS 2017 with davis_text_annotations, or in Ref-YouTube-VOS's layout; four annotators."""
    from risctl.data.datasets.ref_video import read_ref_davis17

    with console.quiet_if(quiet):
        with console.counting("read") as progress:
            dataset = read_ref_davis17(source, progress=progress)
        _write(dataset, out or data_root / "ref-davis17.h5", link=link, as_json=as_json)


def a2d(
    source: FromOption,
    out: OutOption = None,
    data_root: RootOption = Path("data"),
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """A2D-Sentences: its annotated frames as pictures, out of the videos; measured with --protocol a2d."""
    from risctl.data.datasets.actors import read_a2d

    with console.quiet_if(quiet):
        with console.counting("read") as progress:
            dataset = read_a2d(source, progress=progress)
        _write(dataset, out or data_root / "a2d.h5", link=False, as_json=as_json)


def jhmdb(
    source: FromOption,
    out: OutOption = None,
    link: LinkOption = False,
    data_root: RootOption = Path("data"),
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """JHMDB-Sentences: its annotated frames as pictures, split test; measured with --protocol a2d."""
    from risctl.data.datasets.actors import read_jhmdb

    with console.quiet_if(quiet):
        with console.counting("read") as progress:
            dataset = read_jhmdb(source, progress=progress)
        _write(dataset, out or data_root / "jhmdb.h5", link=link, as_json=as_json)


def _write(dataset: Dataset, out: Path, *, link: bool, as_json: bool) -> None:
    from risctl.data.store.writer import write_store

    with console.counting("store") as progress:
        info = write_store(dataset, out, link=link, progress=progress)
    console.result(_told(info), data=_data(info), as_json=as_json)


def _told(info: StoreInfo) -> str:
    lines = [f"{split}: {row['refs']:,} objects, {row['sentences']:,} sentences" for split, row in info.counts.items()]
    lines += [f"note: {note}: {count:,}" for note, count in info.notes.items()]
    return "\n".join([*lines, f"wrote {info.path} ({info.bytes / 1e6:.1f} MB)"])


def _data(info: StoreInfo) -> dict[str, object]:
    return {
        "store": str(info.path),
        "bytes": info.bytes,
        "fingerprint": info.fingerprint,
        "counts": {split: dict(row) for split, row in info.counts.items()},
        "notes": dict(info.notes),
    }
