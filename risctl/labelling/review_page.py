"""Writes pages of the answers that a model is least sure of, to accept or refuse in a browser, and contact sheets.

A page that lies on the disk cannot write to it: its button saves the decisions as a file, which
`risctl label review apply` brings into the rows.
"""

from __future__ import annotations

import base64
import heapq
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from risctl.errors import DataError
from risctl.labelling.reading import base_name, read_address
from risctl.labelling.worker import Row
from risctl.output_files import OutputFiles
from risctl.vision import rle
from risctl.vision.drawing.contact_sheet import contact_sheet
from risctl.vision.drawing.overlays import overlay
from risctl.visualization.report.frame import framed
from risctl.visualization.report.markup import Markup, data_block, element, joined

PAGE = 200
"""Answers of a page."""
_SHEET = 40  # answers of a contact sheet
_SIDE = 400  # pixels of the longer side of a picture on a page


def least_sure(rows: Iterable[Row], *, count: int, no_target: float) -> list[Row]:
    """Returns the rows whose score is nearest to where a match ends and "no match" begins, the least sure first.

    Rows with an error, and those that were decided already, are left out.
    """
    open_rows = (row for row in rows if not row["error"] and not row["decision"])
    return heapq.nsmallest(
        count, open_rows, key=lambda row: (abs(row["score"] - no_target), row["index"], row["phrase"])
    )


def write_review(
    rows: Iterable[Row], out: Path, *, count: int, plan: str, no_target: float, outputs: OutputFiles
) -> int:
    """Writes `index.html`, further pages and contact sheets, and returns the number of answers on them.

    Args:
        rows: The rows of a whole collection.
        out: The folder to write to.
        count: How many answers are shown at most.
        plan: What identifies the collection; decisions carry it.
        no_target: The score from which a phrase is answered with a mask.
        outputs: The guard of the command's output files.
    """
    chosen = least_sure(rows, count=count, no_target=no_target)
    pages = max(1, -(-len(chosen) // PAGE))
    for page in range(pages):
        own = chosen[page * PAGE : (page + 1) * PAGE]
        pictures = [_picture(row) for row in own]
        outputs.write_text(out / _page_name(page), _page(own, pictures, page=page, pages=pages, plan=plan))
        for start in range(0, len(own), _SHEET):
            pairs = zip(own[start : start + _SHEET], pictures[start : start + _SHEET], strict=True)
            some = [(row, picture) for row, picture in pairs if picture is not None]
            if some:
                sheet = contact_sheet([picture for _, picture in some], [_caption(row) for row, _ in some])
                with outputs.writing(out / f"sheet-{(page * PAGE + start) // _SHEET + 1:03d}.jpg") as part:
                    Image.fromarray(sheet).save(part, "JPEG", quality=88)
    return len(chosen)


def _page(rows: Sequence[Row], pictures: Sequence[np.ndarray | None], *, page: int, pages: int, plan: str) -> str:
    file = f"decisions-{plan[:8]}-{page + 1}.json"
    answers = [{"index": row["index"], "phrase": row["phrase"]} for row in rows]
    links = [
        element("a", f"page {other + 1}", href=_page_name(other))
        if other != page
        else element("strong", f"page {other + 1}")
        for other in range(pages if pages > 1 else 0)
    ]
    keys = joined(
        *_key("A"), " accepts, ", *_key("R"), " refuses, ", *_key("U"), " takes it back, ", *_key("←"), " ", *_key("→"),
        " ", *_key("↑"), " ", *_key("↓"), " move, ", *_key("S"), " saves",
    )  # fmt: skip
    header = element(
        "header",
        element("h1", "The least sure answers"),
        element("p", keys),
        element(
            "p",
            element("button", "Save decisions", id="save", type="button"),
            " ",
            element("span", id="count", role="status"),
            ". ",
            element("span", f"Once saved: risctl label review apply FOLDER {file}"),
        ),
        element("nav", *links) if links else "",
    )
    cards = [_card(row, picture) for row, picture in zip(rows, pictures, strict=True)]
    empty = element("p", "There is nothing left to decide.")
    block = data_block("answers", {"plan": plan, "page": page + 1, "file": file, "answers": answers})
    body = joined(header, element("main", *cards) if cards else empty, block)
    return framed(body, title="Review of labels", style="review.css", script="review.js")


def _key(name: str) -> tuple[Markup]:
    return (element("kbd", name),)


def _card(row: Row, picture: np.ndarray | None) -> Markup:
    box = "no match" if not row["matched"] else "nothing found" if row["box"] is None else ""
    shown: object = element("p", "The picture cannot be read any more.")
    if picture is not None:
        shown = element("img", src=_data(picture), alt=f"{row['phrase']}: {box or 'the mask on the picture'}")
    return element(
        "article",
        shown,
        element("h2", row["phrase"]),
        element("p", f"score {row['score']:.3f}{', ' + box if box else ''}"),
        element("p", row["image"]),
        element(
            "div",
            element("button", "Accept", type="button", data_decision="accepted", tabindex="-1"),
            element("button", "Refuse", type="button", data_decision="refused", tabindex="-1"),
            element("span", class_="said", role="status"),
            class_="choices",
        ),
        tabindex="0",
        aria_label=f"{row['phrase']}, score {row['score']:.3f}",
    )


def _picture(row: Row) -> np.ndarray | None:
    """Returns the picture of a row with its mask, uint8 (h, w, 3), small; None if it cannot be read any more."""
    try:
        pixels = read_address(row["image"])
    except DataError:
        return None
    mask = rle.decode(row["segmentation"])
    if pixels.shape[:2] != mask.shape:
        return None
    scale = min(1.0, _SIDE / max(mask.shape))
    size = (max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale)))
    small = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR)
    where = Image.fromarray(np.ascontiguousarray(mask)).resize(size, Image.Resampling.NEAREST)
    return overlay(np.asarray(small), [np.asarray(where)], None)


def _caption(row: Row) -> str:
    return f"{row['phrase']} {row['score']:.3f}{'' if row['matched'] else ' no match'} {base_name(row['image'])}"


def _data(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _page_name(page: int) -> str:
    return "index.html" if page == 0 else f"page-{page + 1}.html"
