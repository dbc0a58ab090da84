"""Draws the pictures of docs/explanations: what `risctl visualize` shows of each system on one photograph.

    python tools/explanation_pictures.py RUNS [SYSTEM …]

RUNS holds a run folder a system (`lavt-scenes`, `vlt-scenes`, …); systems without one are left out. A picture has at
most 150 kB.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[1]
PICTURES = REPOSITORY / "docs" / "explanations" / "pictures"
PHOTOGRAPH = REPOSITORY / "docs" / "pictures" / "coffee.jpg"
SYSTEMS = ("vlt", "step", "referformer", "lavt", "cris", "rela")
PHRASE = "the cup"
LARGEST, SIDE = 150_000, 1000  # bytes, pixels


def main() -> int:
    """Draws what there are runs of. Returns the exit code."""
    runs, wanted = Path(sys.argv[1]), sys.argv[2:] or [*SYSTEMS, "mini"]
    PICTURES.mkdir(exist_ok=True)
    for name in wanted:
        found = [path for path in (runs / f"{name}-scenes", runs / name) if path.is_dir()]
        if name != "mini" and not found:
            print(f"{name}: no run in {runs}", file=sys.stderr)
            continue
        draw(name, "mini" if name == "mini" else str(found[0]))
    return 0


def draw(name: str, model: str) -> None:
    """Draws one picture, in a JPEG of `LARGEST` bytes at most."""
    with tempfile.TemporaryDirectory() as folder:
        sheet = Path(folder) / "sheet.png"
        command = ["visualize", "attention", str(PHOTOGRAPH), PHRASE, "--model", model, "--out", str(sheet), "--quiet"]
        subprocess.run([sys.executable, "-m", "risctl", *command], check=True, stdout=subprocess.DEVNULL)
        with Image.open(sheet) as opened:
            image = opened.convert("RGB")
    image.thumbnail((SIDE, 4 * SIDE))
    out = PICTURES / f"{name}.jpg"
    for quality in (85, 75, 60, 45):
        image.save(out, quality=quality, optimize=True)
        if out.stat().st_size <= LARGEST:
            break
    print(out)


if __name__ == "__main__":
    sys.exit(main())
