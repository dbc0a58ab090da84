"""Makes the graphs of mini that the package ships, from its weights; run it whenever `mini.safetensors` is another one.

    python tools/ship_mini_graph.py

Writes `risctl/models/mini_onnx/`. The graphs hold no weights: they read those of `mini.safetensors`, whose digest
stands in their description, and a test compares. They are equal to the model in torch, or nothing is written.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from risctl.errors import RisctlError
from risctl.export.folder import export_to

OUT = Path(__file__).resolve().parent.parent / "risctl" / "models" / "mini_onnx"


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    out: Path = parser.parse_args().out
    try:
        header = export_to("mini", out, format_name="onnx", precision="fp32", overwrite=True, share_weights=True)
    except RisctlError as error:
        raise SystemExit(f"error: {error}") from error
    size = sum(file.stat().st_size for file in out.iterdir())
    print(f"{out}: {size / 1e6:.2f} MB, largest difference of a logit {header['max_error']:.2g}")


if __name__ == "__main__":
    main()
