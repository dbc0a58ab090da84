"""CLIP's text transformer as a text encoder: its sentence is CLIP's, later tokens change nothing, and its start."""

from __future__ import annotations

from pathlib import Path

import torch
from helpers.tiny_clip import openai_state

from risctl.core.encoders.text.clip_encoder import CLIPTextEncoder
from risctl.core.encoders.text.config import TextSection
from risctl.core.encoders.text.registry import build_text
from risctl.language.vocabulary import Vocabulary
from risctl.systems.global_local_clip.published import build_published_clip

SECTION = {
    "name": "clip",
    "tokens": "some",
    "layers": 2,
    "width": 64,
    "heads": 1,
    "feed_forward": 128,
    "projection": 32,
}


def test_it_starts_from_openais_file_and_gives_clips_sentence(tmp_path: Path) -> None:
    state = {
        name: value.half().float() if value.ndim == 2 and "embedding" not in name else value
        for name, value in openai_state("resnet").items()
    }
    state = {name: value.half().float() if name.endswith("in_proj_bias") else value for name, value in state.items()}
    torch.save(state, tmp_path / "RN.pt")
    section = TextSection.model_validate(SECTION | {"weights": str(tmp_path / "RN.pt")})
    words = Vocabulary(f"w{n}" for n in range(298))
    encoder = build_text(section, words, channels=64, sentence_apart=True).eval()
    assert isinstance(encoder, CLIPTextEncoder) and (encoder.channels, encoder.sentence_channels) == (64, 32)
    ids = torch.tensor([[298, 5, 9, 299, 0, 0], [298, 7, 0, 3, 4, 299]])
    mask = ids != 0
    clip = build_published_clip(state, source="test")
    with torch.no_grad():
        read = encoder(ids, mask)
        expected = clip.text(ids, torch.tensor([3, 5]))
        shorter = encoder(ids[:1, :4], mask[:1, :4])
    assert torch.allclose(read.sentence, expected, atol=2e-3)
    assert torch.allclose(read.words[:1, :4], shorter.words, atol=1e-5)
    assert torch.allclose(read.sentence[:1], shorter.sentence, atol=1e-5)


def test_words_and_sentence_are_brought_to_one_width_for_fusions_that_take_one() -> None:
    section = TextSection.model_validate(SECTION | {"tokens": None})
    words = Vocabulary(["red"])
    for channels, expected in ((None, 64), (24, 24)):
        encoder = build_text(section, words, channels=channels).eval()
        read = encoder(torch.tensor([[2, 0]]), torch.tensor([[True, False]]))
        assert encoder.channels == expected
        assert (read.words.shape, read.sentence.shape) == ((1, 2, expected), (1, expected))


def test_a_frozen_one_trains_nothing() -> None:
    section = TextSection.model_validate(SECTION | {"tokens": None, "frozen": True})
    encoder = build_text(section, Vocabulary(["red"]), sentence_apart=True).train()
    assert not any(one.requires_grad for one in encoder.parameters())
