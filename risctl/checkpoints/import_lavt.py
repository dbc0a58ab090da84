"""Imports published LAVT and LAVT-One weights as a checkpoint."""

from __future__ import annotations

from pathlib import Path

from risctl.checkpoints.checkpoint import checked_output
from risctl.checkpoints.imported import ImportedSystem, check_tokenizer, save_imported
from risctl.language.wordpiece import read_wordpiece
from risctl.systems.lavt.published import lavt_model, lavt_state, read_lavt

TOKENIZER = "bert-base-uncased"
"""The tokenizer of every published checkpoint."""


def import_lavt(
    source: Path, out: Path, *, tokenizer: str = TOKENIZER, heads: tuple[int, ...] | None = None, input_size: int = 480
) -> ImportedSystem:
    """Writes a checkpoint of a published LAVT or LAVT-One with Swin-T, -S, -B or -L, window 7 or 12.

    Args:
        source: The published file.
        out: The checkpoint to write.
        tokenizer: BERT's tokenizer, a vocab.txt, folder or hub id; the checkpoint then holds it.
        heads: The attention heads of the four stages; None: as the file's training arguments say, else 1.
        input_size: Side of the input in pixels.

    Raises:
        CheckpointError: The file is of another model; unknown and missing keys are named.
        UsageError: The tokenizer has another size.
    """
    checked_output(out)
    published = read_lavt(source)
    section = lavt_model(published, source=source, heads=heads, input_size=input_size)
    section["text"]["tokens"] = tokenizer
    vocabulary = read_wordpiece(tokenizer)
    words = len(published.state["text_encoder.embeddings.word_embeddings.weight"])
    check_tokenizer(vocabulary, expected=words, name=tokenizer, source=source)
    return save_imported(
        source,
        out,
        title=f"LAVT{'-One' if published.one else ''} {section['visual']['name']}",
        model=section,
        vocabulary=vocabulary,
        tensors=len(published.state),
        state_of=lambda expected: lavt_state(published, expected, source=source),
        data={"store": "data/refcoco_unc.h5", "text_field": "raw"},
    )
