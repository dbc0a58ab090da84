"""Any CLIP there is, by what the user names: a Hugging Face folder or hub id, or OpenAI's `.pt` file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors
from transformers import CLIPConfig, CLIPModel

from risctl.core.encoders.clip import CLIP
from risctl.core.encoders.text.clip_text import CLIPText
from risctl.core.encoders.visual.clip_vit import CLIPViT
from risctl.data.hub import MODEL, TOKENIZER, model_folder
from risctl.errors import CheckpointError
from risctl.interop.openai_clip import openai_clip, read_openai_clip
from risctl.language.clip_tokens import MERGES_FILE, ClipTokens, is_tokenizer_folder, load_tokens

DEFAULT = "openai/clip-vit-base-patch32"


def load_clip(source: str, *, vocabulary: Path | None = None, option: str = "--clip") -> tuple[CLIP, ClipTokens]:
    """Return a CLIP in evaluation mode, and its tokens.

    source: a folder or hub id in Hugging Face's layout (OpenAI's and OpenCLIP's ViTs), or a `.pt` file by OpenAI's
    names (ViTs and ResNets); vocabulary: OpenAI's merges file or a folder with a tokenizer, by default beside the
    weights. Raises `CheckpointError` or `MachineError` saying what is missing.
    """
    path = Path(source).expanduser()
    if path.is_file() or path.suffix in (".pt", ".pth"):
        clip = openai_clip(read_openai_clip(path), source=source)
        return clip, load_tokens(vocabulary or _beside(path), context=clip.text.context)
    folder = model_folder(source, MODEL if vocabulary else (*MODEL, *TOKENIZER), option=option)
    clip = _hugging_face(folder)
    return clip, load_tokens(vocabulary or folder, context=clip.text.context)


def wrap(model: CLIPModel) -> CLIP:
    """Return our CLIP over the modules of a Hugging Face model."""
    return CLIP(
        visual=CLIPViT(model.vision_model, model.visual_projection),
        text=CLIPText(model.text_model, model.text_projection),
        logit_scale=model.logit_scale,
    ).eval()


def _hugging_face(folder: Path) -> CLIP:
    try:
        config = CLIPConfig.from_pretrained(str(folder))
        if config.model_type != "clip":
            raise CheckpointError(f"expected a CLIP in {folder}, got a model of type {config.model_type}")
        loaded: Any = CLIPModel.from_pretrained(
            str(folder), config=config, local_files_only=True, output_loading_info=True
        )
        model, report = loaded
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{folder} cannot be read as a CLIP: {str(error).splitlines()[0]}") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise CheckpointError(f"{folder} is no whole CLIP: {len(missing)} tensors are missing, such as {missing[0]}")
    return wrap(model.float())


def _beside(path: Path) -> Path:
    for one in (path.parent / MERGES_FILE, path.with_name(MERGES_FILE.removesuffix(".gz"))):
        if one.is_file():
            return one
    if is_tokenizer_folder(path.parent):
        return path.parent
    raise CheckpointError(
        f"{path} holds no vocabulary: put OpenAI's {MERGES_FILE} (or tokenizer.json, or vocab.json and merges.txt) "
        f"beside it, or name it with --vocabulary"
    )
