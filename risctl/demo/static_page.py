"""Writes the page as a folder that any static host serves: the model's graphs run in the browser."""

from __future__ import annotations

import json
import lzma
import sys
from importlib import resources
from pathlib import Path
from typing import Any

from risctl.errors import UsageError
from risctl.files import new_folder
from risctl.runtime.manifest import ANSWER, ENCODE, MANIFEST, VOCABULARY, Manifest, read_manifest

MODEL = "model"
_SETTINGS = "page.json"
_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)
_OF_SERVER = ("server.js",)
# What the page prepares without a server, by the names in `model.json`: mini's image and words.
_IMAGES, _TEXTS = ("MiniPreprocess",), ("hashed_words",)


def write_static(out: Path, exported: Path, *, overwrite: bool = False) -> int:
    """Writes the page and a model's graphs into a folder, which is there only once all is.

    Args:
        out: The folder.
        exported: What `risctl export` wrote, or the graphs that the package comes with.
        overwrite: Whether a page that was written before is replaced.

    Returns:
        The bytes of all files.

    Raises:
        UsageError: The folder is there already, or a browser cannot prepare the model's inputs.
        CheckpointError: The exported model is damaged.
        DataError: The folder cannot be written.
    """
    check_replaceable(out, overwrite=overwrite)
    manifest = read_manifest(exported)
    _check_known(manifest)
    with new_folder(out, replace=overwrite) as made:
        _write_page(made)
        _write_runtime(made)
        (made / MODEL).mkdir()
        _write_model(made / MODEL, manifest)
        return sum(one.stat().st_size for one in made.rglob("*") if one.is_file())


def check_replaceable(out: Path, *, overwrite: bool) -> None:
    """Raises `UsageError` if `out` is there already, and is not a page to be replaced."""
    if not out.exists():
        return
    is_page = (out / "index.html").is_file() and (out / MODEL / _SETTINGS).is_file()
    if not (overwrite and is_page):
        hint = "give --overwrite, or another --static" if is_page else "it holds no such page; give another --static"
        raise UsageError(f"{out} is there already; {hint}")


def _check_known(manifest: Manifest) -> None:
    if manifest.graph_format != "onnx":
        raise UsageError(f"{manifest.folder} holds {manifest.graph_format} graphs; export the model with --format onnx")
    for kind, known in ((manifest.image.get("kind"), _IMAGES), (manifest.text.get("kind"), _TEXTS)):
        if kind not in known:
            raise UsageError(
                f"{manifest.folder} is of {manifest.system}, whose inputs ({kind}) the page does not prepare without a "
                f"server; it knows {', '.join(known)}. `risctl demo --model` serves it"
            )


def _write_page(made: Path) -> None:
    for one in resources.files("risctl.demo").joinpath("page").iterdir():
        if one.name in _OF_SERVER or one.name.startswith("__"):
            continue
        data = one.read_bytes()
        if one.name == "index.html":
            text = data.decode("utf-8").replace('src="server.js"', 'src="browser.js"')
            policy = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
            data = text.replace('<meta charset="utf-8">', f'<meta charset="utf-8">\n{policy}', 1).encode("utf-8")
        (made / one.name).write_bytes(data)


def _write_runtime(made: Path) -> None:
    for one in resources.files("risctl.demo").joinpath("onnxruntime_web").iterdir():
        name = one.name
        if name.endswith(".xz"):
            (made / name.removesuffix(".xz")).write_bytes(lzma.decompress(one.read_bytes()))
        elif name == "LICENSE":
            (made / "onnxruntime-web-LICENSE.txt").write_bytes(one.read_bytes())
        elif name.endswith(".mjs"):
            (made / name).write_bytes(one.read_bytes())


def _write_model(made: Path, manifest: Manifest) -> None:
    graphs = {manifest.graphs[name].file for name in (ENCODE, ANSWER)}
    external = sorted(set(manifest.digest) - graphs - {VOCABULARY})
    for name in sorted({*graphs, VOCABULARY, *external}):
        (made / name).write_bytes(manifest.checked(name))
    weights = manifest.read_weights()
    if manifest.weights is not None and weights is not None:
        (made / manifest.weights.file).write_bytes(weights)
        external.append(manifest.weights.file)
    (made / MANIFEST).write_text(json.dumps(manifest.header, ensure_ascii=False), encoding="utf-8")
    settings: dict[str, Any] = {"folded": folded_signs(), "external": external}
    (made / _SETTINGS).write_text(json.dumps(settings, ensure_ascii=False), encoding="utf-8")


def folded_signs() -> dict[str, str]:
    """Returns the signs that Python folds other than to their lower case, which is all that JavaScript knows."""
    signs = (chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
    return {sign: sign.casefold() for sign in signs if sign.casefold() != sign.lower()}
