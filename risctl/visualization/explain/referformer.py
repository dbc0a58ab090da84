"""All queries of a model over time on one sheet: their masks, boxes and scores, a row a frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from risctl.errors import UsageError
from risctl.inference.encoded_image import decode, encode_frames, encode_texts, prepare
from risctl.inference.predictor import Predictor
from risctl.systems.protocols import takes_clips
from risctl.vision.drawing.contact_sheet import contact_sheet
from risctl.vision.drawing.overlays import overlay
from risctl.vision.drawing.palette import colour
from risctl.vision.images import read_image
from risctl.vision.video_frames import Frame, Video, is_video_name
from risctl.visualization.explain.drawing import DrawnAnswer

_BOX = (255, 255, 255)


@torch.inference_mode()
def draw_queries(predictor: Predictor, source: Path, text: str, *, frames: int = 6) -> DrawnAnswer:
    """Draw the queries for `text` in a picture, or in `frames` frames of a video, evenly spaced and seen as one clip.

    numbers: the frames' names, scores (T, Q), and the answering query. Raises `UsageError` for a model without queries
    or a text without a word, `DataError` for a broken source.
    """
    system = predictor.system
    if not takes_clips(system):
        raise UsageError(f"{predictor.path} is no model with queries over time, such as ReferFormer")
    seen = _frames(source, most=frames)
    clip = encode_frames(system, [prepare(system.preprocess, frame.pixels) for frame in seen], as_clip=True)
    output = decode(system, clip, encode_texts(system, [system.preprocess.text(text)]))
    scores = output.maps["query_scores"][0].float().cpu().numpy()
    boxes = output.maps["query_boxes"][0].float().cpu().numpy()
    chosen = int(scores.mean(0).argmax())
    cells, captions = [], []
    for place, frame in enumerate(seen):
        masks = clip.geometry.invert(output.maps["query_masks"][0, place].float()).cpu().numpy() > predictor.threshold
        for query in range(scores.shape[1]):
            drawn = overlay(frame.pixels, [masks[query]], colours=[colour(1 if query == chosen else 0)]).copy()
            _draw_box(drawn, boxes[place, query])
            cells.append(drawn)
            star = ", the answer" if query == chosen else ""
            captions.append(f"{frame.name}: query {query}, {scores[place, query]:.2f}{star}")
    sheet = contact_sheet(cells, captions, columns=scores.shape[1], cell=240)
    rounded = [[round(float(one), 4) for one in row] for row in scores]
    numbers = {"frames": [one.name for one in seen], "scores": rounded, "chosen": chosen}
    return DrawnAnswer(sheet=sheet, kind="queries", numbers=numbers)


def _frames(source: Path, *, most: int) -> list[Frame]:
    if not source.is_dir() and not is_video_name(source.name):
        return [Frame(index=0, name=source.stem, pixels=read_image(source))]
    video = Video.open(source)
    # What a file says of its length may be missing or wrong: then it is counted.
    count = len(video.pictures) or sum(1 for _ in video.frames())
    wanted = {int(place) for place in np.linspace(0, count - 1, min(most, count)).round()}
    return [frame for frame in video.frames() if frame.index in wanted]


def _draw_box(pixels: np.ndarray, box: np.ndarray) -> None:
    """Draw a box (cx, cy, w, h) in shares of the picture on it, one to three pixels wide."""
    height, width = pixels.shape[:2]
    left, right = (np.clip(round((box[0] + side * box[2] / 2) * width), 0, width - 1) for side in (-1, 1))
    top, bottom = (np.clip(round((box[1] + side * box[3] / 2) * height), 0, height - 1) for side in (-1, 1))
    thick = max(1, min(height, width) // 200)
    for rows, columns in (
        (slice(top, top + thick), slice(left, right + 1)),
        (slice(max(0, bottom - thick + 1), bottom + 1), slice(left, right + 1)),
        (slice(top, bottom + 1), slice(left, left + thick)),
        (slice(top, bottom + 1), slice(max(0, right - thick + 1), right + 1)),
    ):
        pixels[rows, columns] = _BOX
