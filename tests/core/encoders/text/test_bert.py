"""BERT as a text encoder: what transformers computes, from a folder's weights, padding seen by nobody."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from risctl.core.encoders.text.bert import BertEncoder, bert_state
from risctl.errors import CheckpointError

NUMBERS = {"vocabulary": 12, "layers": 2, "width": 16, "heads": 2, "feed_forward": 24}


def test_words_are_the_last_hidden_states_and_padding_is_seen_by_nobody() -> None:
    torch.manual_seed(0)
    encoder = BertEncoder(**NUMBERS).eval()
    ids, mask = torch.tensor([[2, 5, 6, 3]]), torch.ones(1, 4, dtype=torch.bool)
    longer = torch.tensor([[2, 5, 6, 3, 9, 9]])
    with torch.no_grad():
        alone = encoder(ids, mask)
        beside = encoder(longer, torch.arange(6)[None] < 4)
        theirs = encoder.bert(input_ids=ids).last_hidden_state
    assert torch.allclose(alone.words, theirs, atol=1e-6)
    assert beside.words.shape == (1, 6, 16) and torch.allclose(beside.words[:, :4], alone.words, atol=1e-6)
    assert torch.equal(alone.sentence, alone.words[:, 0]) and encoder.channels == 16


def test_frozen_it_takes_no_gradient_and_no_dropout() -> None:
    encoder = BertEncoder(**NUMBERS, dropout=0.5, frozen=True).train()
    ids, mask = torch.tensor([[2, 5, 6, 3]]), torch.ones(1, 4, dtype=torch.bool)
    assert torch.equal(encoder(ids, mask).words, encoder(ids, mask).words)
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_weights_come_from_a_folder_of_transformers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = BertEncoder(**NUMBERS)
    encoder.bert.save_pretrained(tmp_path)
    state = bert_state(str(tmp_path))
    assert all(torch.equal(state[name], value) for name, value in encoder.bert.state_dict().items())
    with pytest.raises(CheckpointError, match=r"model\.text\.weights"):
        bert_state(str(tmp_path / "nowhere"))
