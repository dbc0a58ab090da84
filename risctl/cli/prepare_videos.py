"""`risctl prepare ref-youtube-vos`, `ref-davis17`, `a2d` and `jhmdb`: published videos with expressions into stores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from risctl.cli import console
from risctl.cli.options import JsonOption, QuietOption, RootOption
from risctl.cli.storing import LinkOption, OverwriteOption, free_place, out_option, tell, write

if TYPE_CHECKING:
    from risctl.data.records import Dataset

FromOption = Annotated[Path, typer.Option("--from", help="Folder of the published files.", show_default=False)]


def ref_youtube_vos(
    source: FromOption,
    out: Annotated[Path | None, out_option("ref-youtube-vos.h5")] = None,
    link: LinkOption = False,
    overwrite: OverwriteOption = False,
    data_root: RootOption = Path("data"),
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Ref-YouTube-VOS: SPLIT/JPEGImages, SPLIT/Annotations and meta_expressions, as published."""
    from risctl.data.datasets.ref_video import read_ref_youtube_vos

    with console.quiet_if(quiet):
        place = free_place(out or data_root / "ref-youtube-vos.h5", overwrite=overwrite)
        _prepare(read_ref_youtube_vos, source, out=place, link=link, as_json=as_json)


def ref_davis17(
    source: FromOption,
    out: Annotated[Path | None, out_option("ref-davis17.h5")] = None,
    link: LinkOption = False,
    overwrite: OverwriteOption = False,
    data_root: RootOption = Path("data"),
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Ref-DAVIS17: DAVIS 2017 with davis_text_annotations, or in Ref-YouTube-VOS's layout; four annotators."""
    from risctl.data.datasets.ref_video import read_ref_davis17

    with console.quiet_if(quiet):
        place = free_place(out or data_root / "ref-davis17.h5", overwrite=overwrite)
        _prepare(read_ref_davis17, source, out=place, link=link, as_json=as_json)


def a2d(
    source: FromOption,
    out: Annotated[Path | None, out_option("a2d.h5")] = None,
    overwrite: OverwriteOption = False,
    data_root: RootOption = Path("data"),
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """A2D-Sentences: its annotated frames as pictures, out of the videos; measured with --protocol a2d."""
    from risctl.data.datasets.actors import read_a2d

    with console.quiet_if(quiet):
        place = free_place(out or data_root / "a2d.h5", overwrite=overwrite)
        _prepare(read_a2d, source, out=place, link=False, as_json=as_json)


def jhmdb(
    source: FromOption,
    out: Annotated[Path | None, out_option("jhmdb.h5")] = None,
    link: LinkOption = False,
    overwrite: OverwriteOption = False,
    data_root: RootOption = Path("data"),
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """JHMDB-Sentences: its annotated frames as pictures, split test; measured with --protocol a2d."""
    from risctl.data.datasets.actors import read_jhmdb

    with console.quiet_if(quiet):
        place = free_place(out or data_root / "jhmdb.h5", overwrite=overwrite)
        _prepare(read_jhmdb, source, out=place, link=link, as_json=as_json)


def _prepare(read: Callable[..., Dataset], source: Path, *, out: Path, link: bool, as_json: bool) -> None:
    with console.counting("read") as progress:
        dataset = read(source, progress=progress)
    tell(write(dataset, out, link=link), counted={"refs": "objects", "sentences": "sentences"}, as_json=as_json)
