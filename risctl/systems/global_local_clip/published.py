"""Any CLIP there is, by what the user names: a Hugging Face folder or hub id, or OpenAI's `.pt` file."""

from __future__ import annotations

from pathlib import Path

from transformers import CLIPModel

from risctl.core.encoders.clip import CLIP
from risctl.core.encoders.text.clip_text import CLIPText
from risctl.core.encoders.visual.clip_vit import CLIPViT
from risctl.data.download.hub import MODEL, TOKENIZER
from risctl.data.download.pretrained import Pretrained
from risctl.errors import CheckpointError
from risctl.language.clip_tokens import MERGES_FILE, ClipTokens, is_tokenizer_folder, load_tokens
from risctl.systems.global_local_clip.openai_clip import openai_clip, read_openai_clip

DEFAULT = "openai/clip-vit-base-patch32"


def load_clip(source: str, *, vocabulary: Path | None = None) -> tuple[CLIP, ClipTokens]:
    """Return a CLIP in evaluation mode, and its tokens.

    source: a folder or hub id in Hugging Face's layout (OpenAI's and OpenCLIP's ViTs), or a `.pt` file by OpenAI's
    names (ViTs and ResNets); vocabulary: OpenAI's merges file or a folder with a tokenizer, by default beside the
    weights. Raises `CheckpointError` or `MachineError` saying what is missing.
    """
    path = Path(source).expanduser()
    if path.is_file() or path.suffix in (".pt", ".pth"):
        clip = openai_clip(read_openai_clip(path), source=source)
        return clip, load_tokens(vocabulary or _beside(path), context=clip.text.context)
    found = Pretrained(
        source, what="a CLIP", kinds=("clip",), wanted=MODEL if vocabulary else (*MODEL, *TOKENIZER), option="--clip"
    )
    clip = wrap(found.model(CLIPModel).float())
    return clip, load_tokens(vocabulary or found.folder, context=clip.text.context)


def wrap(model: CLIPModel) -> CLIP:
    """Return our CLIP over the modules of a Hugging Face model."""
    return CLIP(
        visual=CLIPViT(model.vision_model, model.visual_projection),
        text=CLIPText(model.text_model, model.text_projection),
        logit_scale=model.logit_scale,
    ).eval()


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
