"""Run parity cases: `python tests/parity/run.py CASE_DIR...`.

Prints `case output max_abs_error tolerance ok|FAIL`, a line an output, and exits 1 if any fails or is missing. A folder
that holds cases instead of being one stands for all of them. One file a system stands beside this one; each has
`rows(case, arrays, folder)`, which yields `(output, error, tolerance)`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from comparison import Row

MODULES = {
    "VLT": "vlt",
    "STEP parts": "step",
    "metrics": "metrics",
    "ReferFormer": "referformer",
    "ReLA": "rela",
    "Global-Local CLIP": "global_local_clip",
    "ZSI (zero-shot instance segmentation)": "zsi",
    "LAVT": "lavt",
    "CRIS": "cris",
    "formats": "annotation_formats",
    "datasets": "published_masks",
}
"""By the case's `system` (or `family`), or by its `kind` if that has no entry: the file that computes our outputs."""


def module_of(case: Mapping[str, Any]) -> str | None:
    """Return the name of the file that runs `case`, None if none does yet."""
    return MODULES.get(case.get("system", case.get("family", "")), MODULES.get(case.get("kind", "")))


def cases_in(folders: Iterable[Path]) -> list[Path]:
    """Return the case folders among `folders` and below them."""
    return [case.parent for folder in folders for case in sorted(folder.rglob("case.json"))]


def read_arrays(folder: Path) -> dict[str, np.ndarray]:
    """Return the stored inputs and outputs of a case; none for a kind that has no arrays."""
    if (folder / "io.npz").is_file():
        with np.load(folder / "io.npz", allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    if (folder / "io.safetensors").is_file():
        from safetensors.numpy import load_file

        return load_file(folder / "io.safetensors")
    return {}


def run_case(folder: Path) -> Iterator[Row]:
    """Yield the rows of the case in `folder`; a case that cannot be run fails as one row."""
    case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    name = module_of(case)
    if name is None:
        print(f"{folder}: nothing here runs {case.get('system')!r} of kind {case.get('kind')!r}", file=sys.stderr)
        yield "(all)", float("inf"), 0.0
        return
    try:
        yield from importlib.import_module(name).rows(case, read_arrays(folder), folder)
    except Exception:
        # One broken case must not hide what the others say.
        traceback.print_exc()
        yield "(rest)", float("inf"), 0.0


def is_ok(error: float, tolerance: float) -> bool:
    """Return whether an output passes; a NaN does not."""
    return error <= tolerance


def main() -> int:
    """Run the cases named on the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="CASE_DIR")
    folders = parser.parse_args().folders
    cases = cases_in(folders)
    empty = [folder for folder in folders if not cases_in([folder])]
    for folder in empty:
        print(f"{folder} (no-case) inf 0 FAIL")
    failed = bool(empty)
    for folder in cases:
        for output, error, tolerance in run_case(folder):
            ok = is_ok(error, tolerance)
            line = f"{error:.3e} {tolerance:.3e} {'ok' if ok else 'FAIL'}"
            print(f"{folder.parent.name}/{folder.name} {output} {line}", flush=True)
            failed |= not ok
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
