"""Runs the notebooks of docs/notebooks and keeps their outputs, without what only this machine says.

pip install -e '.[docs,video]'
python tools/run_notebooks.py [NOTEBOOK ...]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parents[1] / "docs" / "notebooks"


def run(path: Path, folder: Path) -> nbformat.NotebookNode:
    """Runs a notebook as if it lay in `folder`, beside a folder of pictures. Raises what a cell raises."""
    (folder / "notebooks").mkdir(exist_ok=True)
    pictures = folder / "pictures"
    if not pictures.exists():
        pictures.symlink_to(NOTEBOOKS.parent / "pictures")
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(folder / "notebooks")}}
    NotebookClient(notebook, timeout=900, resources=resources).execute()
    return notebook


def cleaned(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Returns a notebook without times, warnings and the home of who ran it; of a picture, one form is kept."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
        for output in cell.outputs:
            if "text" in output:
                output.text = output.text.replace(str(Path.home()), "~")
            if "image/jpeg" in output.get("data", {}):
                output.data.pop("image/png", None)
    return notebook


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(NOTEBOOKS.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(cleaned(run(Path(name), Path(folder))), Path(name))
        print(name)
