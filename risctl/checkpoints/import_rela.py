"""Imports published ReLA weights as a checkpoint."""

from __future__ import annotations

from pathlib import Path

from risctl.checkpoints.checkpoint import checked_output
from risctl.checkpoints.imported import ImportedSystem, check_tokenizer, save_imported
from risctl.language.wordpiece import read_wordpiece
from risctl.systems.rela.published import read_rela, rela_model, rela_state

TOKENIZER = "bert-base-uncased"
"""The tokenizer of every published checkpoint."""


def import_rela(source: Path, out: Path, *, tokenizer: str = TOKENIZER) -> ImportedSystem:
    """Writes a checkpoint of a published ReLA, with Swin or ResNet.

    Args:
        source: The published file.
        out: The checkpoint to write.
        tokenizer: BERT's tokenizer, a vocab.txt, a folder or a hub id; the checkpoint then holds it.

    Raises:
        CheckpointError: The file is of another model; unknown and missing keys are named.
        UsageError: The tokenizer has another size.
    """
    checked_output(out)
    published = read_rela(source)
    section = rela_model(published, source=source)
    section["text"]["tokens"] = tokenizer
    tokens = read_wordpiece(tokenizer)
    words = len(published["text_encoder.embeddings.word_embeddings.weight"])
    check_tokenizer(tokens, expected=words, name=tokenizer, source=source)
    return save_imported(
        source,
        out,
        title=f"ReLA {section['visual']['name']}",
        model=section,
        vocabulary=tokens,
        tensors=len(published),
        state_of=lambda expected: rela_state(published, expected, source=source),
        data={"store": "data/grefcoco_unc.h5", "text_field": "raw"},
    )
