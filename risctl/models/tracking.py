"""Carries masks through a video with any tracker of transformers: SAM 2, EdgeTAM, SAM 3.

A tracker keeps what it saw of each object in a bank of memories. Here frames come one by one and what no later frame
reads is dropped, so that memory does not grow with the video.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from risctl.errors import CheckpointError, UsageError
from risctl.models.names import parse_name
from risctl.models.open import PRECISIONS, Precision, pretrained_of
from risctl.models.registry import TRACKERS

_PART_OF = {"sam3_video": "sam3_tracker_video"}
"""SAM 3 is published as one model that finds by text and tracks what it found; what tracks is a part of its weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedFrame:
    """Where the objects are in one frame.

    Attributes:
        probabilities: Float32 (N, H, W).
        scores: Float32 (N,): the probability that each object shows in the frame.
    """

    probabilities: np.ndarray
    scores: np.ndarray


class MaskTracker:
    """A model that carries masks from frame to frame."""

    def __init__(self, model: Any, image_processor: Any, *, name: str) -> None:
        """Takes a model that was opened.

        Args:
            model: A `Sam2VideoModel`, or another that takes an `inference_session` in its place.
            image_processor: What prepares a frame.
            name: How messages call it.

        Raises:
            CheckpointError: The model keeps no session that masks can be put into.
        """
        self.name = name
        self._model, self._processor = model.eval(), image_processor
        session = f"{type(model).__name__.removesuffix('Model')}InferenceSession"
        self._session: Any = getattr(sys.modules[type(model).__module__], session, None)
        if self._session is None:
            raise CheckpointError(f"{name} tracks in a way that risctl does not know; use one of {', '.join(TRACKERS)}")

    def start(self, pixels: np.ndarray, masks: Sequence[np.ndarray]) -> Track:
        """Starts with the objects of a video's first frame.

        Args:
            pixels: The frame, RGB, uint8 (H, W, 3).
            masks: The mask of each object in it, bool (H, W), none of them empty.
        """
        device, dtype = self._model.device, self._model.dtype
        session = self._session(
            inference_device=device, inference_state_device="cpu", video_storage_device="cpu", dtype=dtype
        )
        # Each object reads the features of a frame once more: they would be copied to and fro for each.
        session.cache.inference_state_device = device
        track = Track(self._model, self._processor, session)
        track.begin(pixels, masks)
        return track


class Track:
    """The objects of one video, carried from frame to frame."""

    def __init__(self, model: Any, image_processor: Any, session: Any) -> None:
        self._model, self._processor, self._session = model, image_processor, session
        self._frame = 0
        # Frames back to which a memory is read, as a map or as the one vector that stands for the object.
        self._maps = int(model.num_maskmem)
        self._vectors = max(self._maps, int(model.config.max_object_pointers_in_encoder))

    @torch.no_grad()
    def begin(self, pixels: np.ndarray, masks: Sequence[np.ndarray]) -> None:
        """Puts the objects of the first frame into the bank; see `MaskTracker.start`."""
        for number, mask in enumerate(masks):
            values = _at_input(mask, side=self._model.image_size)
            self._session.add_mask_inputs(self._session.obj_id_to_idx(number), 0, values)
        self._session.obj_with_new_inputs = list(range(len(masks)))
        self._pass(pixels)

    @torch.no_grad()
    def follow(self, pixels: np.ndarray) -> TrackedFrame:
        """Finds the objects in the next frame, RGB, uint8 (H, W, 3)."""
        output = self._pass(pixels)
        logits = output.pred_masks.float().reshape(-1, 1, *output.pred_masks.shape[-2:])
        # A frame is squashed into the network's square, so that its mask is one of the whole frame.
        resized = functional.interpolate(logits, size=pixels.shape[:2], mode="bilinear", align_corners=False)[:, 0]
        scores = output.object_score_logits.float().reshape(-1).sigmoid()
        return TrackedFrame(probabilities=resized.sigmoid().cpu().numpy(), scores=scores.cpu().numpy())

    @property
    def kept(self) -> int:
        """How many maps and vectors of the objects are kept: what a test of memory looks at."""
        banks = self._session.output_dict_per_obj.values()
        return sum(len(one) for bank in banks for outputs in bank.values() for one in outputs.values())

    def _pass(self, pixels: np.ndarray) -> Any:
        values = self._processor(Image.fromarray(pixels), return_tensors="pt")["pixel_values"]
        output = self._model(
            inference_session=self._session, frame_idx=self._frame, frame=values.to(self._model.device)
        )
        self._forget()
        self._frame += 1
        return output

    def _forget(self) -> None:
        """Drops what no later frame reads: frames, masks, and memories that are too old."""
        session = self._session
        session.processed_frames.clear()
        for number, bank in session.output_dict_per_obj.items():
            session.frames_tracked_per_obj[number].clear()
            for kept in bank.values():
                for output in kept.values():
                    output.pop("high_res_masks", None)
                    output.pop("pred_masks", None)
            tracked = bank["non_cond_frame_outputs"]
            for frame in [one for one in tracked if one <= self._frame + 1 - self._vectors]:
                del tracked[frame]
            for frame, output in tracked.items():
                for name in ("maskmem_features", "maskmem_pos_enc"):
                    if frame <= self._frame + 1 - self._maps:
                        output.pop(name, None)
                    elif name in output:
                        output[name] = output[name].cpu()


def open_tracker(tracker: str, *, device: torch.device, precision: Precision = "fp32") -> MaskTracker:
    """Opens a tracker by name.

    Args:
        tracker: A name of `TRACKERS`, `hf:OWNER/NAME`, or a folder in Hugging Face's layout.
        device: Where it computes.
        precision: The precision of its weights.

    Raises:
        CheckpointError: There is no such model, or it carries no masks through a video.
        MachineError: The weights are neither here nor to be had.
        UsageError: The name is wrong.
    """
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    name = parse_name(tracker)
    if name is None or len(name.sources) != 1 or name.chooser or name.is_global_local:
        raise UsageError(
            f"expected one tracker for --tracker ({', '.join(TRACKERS)}), hf:OWNER/NAME or a folder in Hugging Face's "
            f"layout, got {tracker!r}"
        )
    [source] = name.sources
    found = pretrained_of(source, what="a tracker", option="--tracker")
    kind = _PART_OF.get(found.kind, found.kind)
    of = getattr(transformers, str(MODEL_MAPPING_NAMES.get(kind)), None)
    if of is None or "inference_session" not in inspect.signature(of.forward).parameters:
        raise CheckpointError(
            f"{source} holds a {found.kind}, which carries no masks through a video; expected a sam2_video, "
            "edgetam_video, sam3_video or sam3_tracker_video"
        )
    model = found.model(of).to(device, PRECISIONS[precision])
    return MaskTracker(model, found.part(transformers.AutoImageProcessor), name=f"{kind} {source}")


def _at_input(mask: np.ndarray, *, side: int) -> Tensor:
    """Returns a mask (H, W) in the network's square as 0 and 1, (1, 1, side, side); one that is not empty stays so."""
    values = torch.from_numpy(np.ascontiguousarray(mask)).float()[None, None]
    resized = functional.interpolate(values, size=(side, side), mode="bilinear", align_corners=False, antialias=True)
    inside = resized >= 0.5
    # Of an object of a few pixels in a large frame no pixel would be half covered.
    return (inside if inside.any() else resized >= resized.max()).float()
