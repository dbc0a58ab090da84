"""STEP's text encoder is a packed bidirectional LSTM."""

from __future__ import annotations

import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from risctl.core.encoders.text.bilstm import BiLSTMEncoder


def test_the_encoder_is_a_packed_bidirectional_lstm() -> None:
    """torch's own, given the lengths; its states are zero where no word is."""
    torch.manual_seed(0)
    reader = BiLSTMEncoder(embedding=torch.nn.Embedding(9, 6), dim=6, hidden=5).eval()
    own = torch.nn.LSTM(6, 5, batch_first=True, bidirectional=True)
    state = dict(reader.ahead.state_dict())
    own.load_state_dict(state | {f"{name}_reverse": one for name, one in reader.back.state_dict().items()})
    words = torch.randint(0, 9, (3, 7))
    lengths = torch.tensor([4, 7, 1])
    mask = torch.arange(7)[None] < lengths[:, None]
    with torch.no_grad():
        read = reader(words, mask)
        packed = pack_padded_sequence(reader.embedding(words), lengths, batch_first=True, enforce_sorted=False)
        states, (last, _) = own(packed)
    assert torch.allclose(read.words, pad_packed_sequence(states, batch_first=True)[0], atol=1e-6)
    assert torch.allclose(read.sentence, torch.cat([last[0], last[1]], dim=1), atol=1e-6)
