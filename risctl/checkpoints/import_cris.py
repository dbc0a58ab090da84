"""Imports published CRIS weights as a checkpoint."""

from __future__ import annotations

from pathlib import Path

from risctl.checkpoints.checkpoint import checked_output
from risctl.checkpoints.imported import ImportedSystem, check_tokenizer, save_imported
from risctl.language.clip_vocabulary import ClipVocabulary
from risctl.systems.cris.published import cris_model, cris_state, read_cris

TOKENIZER = "openai/clip-vit-base-patch32"
"""The tokenizer of every published CLIP."""


def import_cris(
    source: Path, out: Path, *, tokenizer: str = TOKENIZER, max_words: int = 17, input_size: int = 416
) -> ImportedSystem:
    """Writes a checkpoint of a published CRIS with any of CLIP's ResNets.

    Args:
        source: The published file (.pth).
        out: The checkpoint to write.
        tokenizer: CLIP's tokenizer: OpenAI's merges file, a folder, or a hub id; the checkpoint then holds it.
        max_words: Tokens after which an expression is truncated, start and end included, which the file does not tell:
            17 for RefCOCO and RefCOCO+, 22 for RefCOCOg.
        input_size: Side of the input in pixels, which the file does not tell either.

    Raises:
        CheckpointError: The file is of another model; unknown and missing keys are named.
        UsageError: The tokenizer has another size.
    """
    checked_output(out)
    published = read_cris(source)
    section = cris_model(published, source=source) | {"input_size": input_size, "max_words": max_words}
    section["text"]["tokens"] = tokenizer
    vocabulary = ClipVocabulary.load(tokenizer)
    words = len(published["backbone.token_embedding.weight"]) if "backbone.token_embedding.weight" in published else 0
    check_tokenizer(vocabulary, expected=words, name=tokenizer, source=source)
    state = cris_state(published)
    return save_imported(
        source,
        out,
        title=f"CRIS {section['visual']['name']}",
        model=section,
        vocabulary=vocabulary,
        tensors=len(state),
        state_of=lambda expected: state,
        data={"store": "data/refcoco_unc.h5"},
        epochs=50,
    )
