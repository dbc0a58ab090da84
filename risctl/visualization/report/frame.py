"""Wraps a self-contained page: its head, and a policy that lets the browser run and load nothing else."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

from risctl.visualization.report.markup import Markup, element


def framed(body: Markup, *, title: str, style: str, script: str) -> str:
    """Returns the HTML document around `body`.

    The policy names the style and the script by their hashes; what comes from data can only be text or an image.

    Args:
        body: The content.
        title: The document's title.
        style: The name of a CSS file of this package.
        script: The name of a script of this package.
    """
    css, code = _file(style), _file(script)
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(css)}'; script-src '{_hash(code)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Markup(css)),
    )
    content = element("body", body, element("script", Markup(code)))
    return f'<!DOCTYPE html>\n<html lang="en">{head}\n{content}</html>\n'


def _file(name: str) -> str:
    return resources.files("risctl.visualization.report").joinpath(name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode("utf-8")).digest()).decode("ascii")
