"""Imports published ReferFormer weights as a checkpoint."""

from __future__ import annotations

from pathlib import Path

from risctl.checkpoints.checkpoint import checked_output
from risctl.checkpoints.imported import ImportedSystem, check_tokenizer, save_imported
from risctl.language.byte_pairs import BytePairs
from risctl.systems.referformer.published import read_referformer, referformer_model, referformer_state

TOKENIZER = "roberta-base"
"""The tokenizer of every published checkpoint."""

_A2D_LONGEST = 640
_A2D_WINDOW = 5


def import_referformer(
    source: Path, out: Path, *, tokenizer: str = TOKENIZER, new_classes: bool = False, a2d: bool = False
) -> ImportedSystem:
    """Writes a checkpoint of a published ReferFormer with any of its nine backbones.

    Args:
        source: The published file.
        out: The checkpoint to write.
        tokenizer: RoBERTa's tokenizer, a folder or hub id; the checkpoint then holds it.
        new_classes: Whether it begins with one new class output, for fine-tuning after the pretraining with many.
        a2d: Whether it predicts as for A2D-Sentences: longest side 640, the centre frame of a clip alone, which a video
            backbone sees with two frames on either side.

    Raises:
        CheckpointError: The file is of another model; unknown and missing keys are named.
        UsageError: The tokenizer has another size.
    """
    checked_output(out)
    published = read_referformer(source)
    section = referformer_model(published, source=source)
    if new_classes:
        section["classes"] = 1
    if a2d:
        section |= {"centre_only": True, "longest_side": _A2D_LONGEST, "input_multiple": 32, "mask_resize": "nearest"}
        section["window"] = _A2D_WINDOW if section["visual"]["name"].startswith("video_") else 1
    section["text"]["tokens"] = tokenizer
    pairs = BytePairs.load(tokenizer)
    words = len(published["text_encoder.embeddings.word_embeddings.weight"])
    check_tokenizer(pairs, expected=words, name=tokenizer, source=source)
    return save_imported(
        source,
        out,
        title=f"ReferFormer {section['visual']['name']}",
        model=section,
        vocabulary=pairs,
        tensors=len(published),
        state_of=lambda expected: referformer_state(published, expected, source=source, new_classes=new_classes),
        data={"store": "data/refcoco_unc.h5", "text_field": "raw_lower"},
        new_parts=new_classes,
    )
