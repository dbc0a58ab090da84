"""Opens a CLIP by what the user names: a Hugging Face folder or hub id, or OpenAI's `.pt` file."""

from __future__ import annotations

from pathlib import Path

from transformers import CLIPModel

from risctl.core.encoders.clip import CLIP
from risctl.core.encoders.clip_weights import read_published_clip
from risctl.core.encoders.text.clip_text import CLIPText
from risctl.core.encoders.visual.clip_vit import CLIPViT
from risctl.data.download.hub import MODEL, TOKENIZER
from risctl.data.download.pretrained import Pretrained
from risctl.errors import CheckpointError
from risctl.language.clip_tokens import MERGES_FILE, ClipTokens, is_tokenizer_folder, load_tokens
from risctl.systems.global_local_clip.published import build_published_clip

DEFAULT = "openai/clip-vit-base-patch32"


def load_clip(source: str, *, vocabulary: Path | None = None) -> tuple[CLIP, ClipTokens]:
    """Opens a CLIP.

    Args:
        source: A folder or hub id in Hugging Face's layout (OpenAI's and OpenCLIP's ViTs), or a `.pt` file with
            OpenAI's names (ViTs and ResNets).
        vocabulary: OpenAI's merges file, or a folder with a tokenizer; by default beside the weights.

    Returns:
        The model in evaluation mode, and its tokenizer.

    Raises:
        CheckpointError: The files are missing, damaged or something else.
        MachineError: The files cannot be downloaded.
    """
    path = Path(source).expanduser()
    if path.is_file() or path.suffix in (".pt", ".pth"):
        clip = build_published_clip(read_published_clip(path), source=source)
        return clip, load_tokens(vocabulary or _beside(path), context=clip.text.context)
    pretrained = Pretrained(
        source, what="a CLIP", kinds=("clip",), wanted=MODEL if vocabulary else (*MODEL, *TOKENIZER), option="--clip"
    )
    clip = wrap_clip(pretrained.model(CLIPModel).float())
    return clip, load_tokens(vocabulary or pretrained.folder, context=clip.text.context)


def wrap_clip(model: CLIPModel) -> CLIP:
    """Returns a `CLIP` that shares the modules of a Hugging Face model, in evaluation mode."""
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
