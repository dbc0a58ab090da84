"""`risctl prepare ref-youtube-vos`, `ref-davis17`, `a2d` and `jhmdb`: published videos with expressions into stores."""

# The annotations of a set's command name its store, so here they are not kept as text.
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from risctl.cli import console
from risctl.cli.options import JsonOption, QuietOption, RootOption
from risctl.cli.prepare.store_output import OF_VIDEOS, LinkOption, OverwriteOption, free_place, out_option, tell, write

FromOption = Annotated[Path, typer.Option("--from", help="Folder of the published files.", show_default=False)]

# Name -> what it is, and the folder of its example.
SETS = {
    "ref-youtube-vos": (
        "Ref-YouTube-VOS: SPLIT/JPEGImages, SPLIT/Annotations and meta_expressions, as published.",
        "ref-youtube-vos",
    ),
    "a2d": (
        "A2D-Sentences: its annotated frames as pictures, out of the videos; measured with --protocol a2d.",
        "a2d_sentences",
    ),
    "jhmdb": (
        "JHMDB-Sentences: its annotated frames as pictures, split test; measured with --protocol a2d.",
        "jhmdb_sentences",
    ),
    "ref-davis17": (
        "Ref-DAVIS17: DAVIS 2017 with davis_text_annotations, or in Ref-YouTube-VOS's layout; four annotators.",
        "ref-davis",
    ),
}


def video_set(name: str) -> Callable[..., None]:
    """Return the command of a set: they differ by name and help, and A2D's pictures cannot be linked."""
    out_of_set = out_option(f"{name}.h5")

    def prepare(
        source: FromOption,
        out: Annotated[Path | None, out_of_set] = None,
        link: LinkOption = False,
        overwrite: OverwriteOption = False,
        data_root: RootOption = Path("data"),
        as_json: JsonOption = False,
        quiet: QuietOption = False,
    ) -> None:
        with console.quiet_if(quiet):
            place = free_place(out or data_root / f"{name}.h5", overwrite=overwrite)
            with console.counting("read") as progress:
                dataset = _reader(name)(source, progress=progress)
            tell(write(dataset, place, link=link), counted=OF_VIDEOS, as_json=as_json)

    def prepare_copied(
        source: FromOption,
        out: Annotated[Path | None, out_of_set] = None,
        overwrite: OverwriteOption = False,
        data_root: RootOption = Path("data"),
        as_json: JsonOption = False,
        quiet: QuietOption = False,
    ) -> None:
        prepare(source, out=out, overwrite=overwrite, data_root=data_root, as_json=as_json, quiet=quiet)

    return prepare_copied if name == "a2d" else prepare


def _reader(name: str) -> Callable[..., Any]:
    from risctl.data.datasets import a2d, ref_video

    return {
        "ref-youtube-vos": ref_video.read_ref_youtube_vos,
        "ref-davis17": ref_video.read_ref_davis17,
        "a2d": a2d.read_a2d,
        "jhmdb": a2d.read_jhmdb,
    }[name]
