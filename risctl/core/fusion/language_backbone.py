"""Runs a backbone stage by stage with a language gate after each: the encoder of LAVT and of ReLA."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from risctl.core.encoders.base import TextFeatures, VisualFeatures
from risctl.core.fusion.language_gate import LanguageGate


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageMaps:
    """The output of a `LanguageBackbone`, finest map first.

    Attributes:
        maps: The fused maps after their layer norms, (B, C_i, H_i, W_i).
        attention: The attention of each cell to the words, mean over heads, (B, H_i, W_i, L); where asked for.
        openings: How far the gate behind each stage but the last opens, the mean absolute value over channels,
            (B, H_i, W_i); where asked for.
    """

    maps: tuple[Tensor, ...]
    attention: tuple[Tensor, ...] = ()
    openings: tuple[Tensor, ...] = ()


class LanguageBackbone(nn.Module):
    """A backbone whose stages read the words of an expression.

    Its forward computes what does not depend on words: the first stage. `read` computes the rest for each expression.
    A decoder is given the normalised fused maps, not what flows on; the gate of the last stage feeds nothing, is kept
    for LAVT's published checkpoints and does not train.
    """

    def __init__(
        self,
        backbone: Any,
        *,
        words: int = 768,
        heads: Sequence[int] = (1, 1, 1, 1),
        zero_gates: bool = False,
        last_gate: bool = True,
    ) -> None:
        """Puts gates behind the stages of a backbone.

        Args:
            backbone: A `StagedBackbone`.
            words: Width of the words.
            heads: Attention heads of the gates of the stages.
            zero_gates: Whether the gates start at zero, see `LanguageGate`.
            last_gate: Whether the last stage has a gate too: in LAVT's published checkpoints it has, in ReLA's not.
        """
        super().__init__()
        self.backbone = backbone
        self.channels: tuple[int, ...] = tuple(backbone.channels)
        self.strides: tuple[int, ...] = tuple(backbone.strides)
        self.gates = nn.ModuleList(
            LanguageGate(channels, words=words, heads=count, zero_gate=zero_gates)
            for channels, count in zip(self.channels, heads, strict=True)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for channels in self.channels)
        if not last_gate:
            self.gates[-1].gate = nn.Sequential()
        for name, parameter in self.gates[-1].named_parameters():
            if name.startswith("gate."):
                parameter.requires_grad_(False)

    def forward(self, images: Tensor, padding: Tensor) -> VisualFeatures:
        """Encodes images (B, 3, H, W), RGB in [0, 1], with padding (B, H, W), as far as no words are needed.

        Returns:
            The map of the first stage, its visual features and its queries, each (B, C, H/4, W/4).
        """
        return self.finish(self.begin(images, padding), padding)

    def frozen_part(self) -> tuple[nn.Module, ...]:
        """Returns the backbone if it is frozen."""
        return (self.backbone,) if self.backbone.frozen else ()

    def begin(self, images: Tensor, padding: Tensor) -> tuple[Tensor, ...]:
        """Returns the map of the first stage, (B, C, H/4, W/4)."""
        first = self.backbone.run_stage(self.backbone.before_stages(images, padding), 0)
        return (first.permute(0, 3, 1, 2),)

    def finish(self, parts: tuple[Tensor, ...], padding: Tensor) -> VisualFeatures:
        """Returns the features of the output of `begin`."""
        [first] = parts
        visual, query = self._gates()[0].begin(first.permute(0, 2, 3, 1))
        maps = (first, visual.permute(0, 3, 1, 2), query.permute(0, 3, 1, 2))
        return VisualFeatures(maps=maps, strides=self.strides[:1] * 3, padding=padding)

    def read(self, visual: VisualFeatures, text: TextFeatures, *, detailed: bool = False) -> LanguageMaps:
        """Computes the maps of N images for N expressions, row by row.

        Args:
            visual: What the forward gave for each image.
            text: The words of each expression.
            detailed: Whether attention and openings are returned as well.
        """
        x, first_visual, first_query = (feature_map.permute(0, 2, 3, 1) for feature_map in visual.maps)
        begun = first_visual, first_query
        maps, attention, openings = [], [], []
        last = len(self.gates) - 1
        for number, (gate, norm) in enumerate(zip(self._gates(), self.norms, strict=True)):
            if number:
                x = self.backbone.run_stage(x, number)
                begun = gate.begin(x)
            fused, seen = gate.fuse(begun, text.words, text.mask)
            maps.append(norm(fused).permute(0, 3, 1, 2))
            if detailed:
                attention.append(seen.mean(dim=1).unflatten(1, fused.shape[1:3]))
            if number < last:
                x, opened = gate.gated(x, fused)
                if detailed:
                    openings.append(opened.abs().mean(dim=3))
        return LanguageMaps(maps=tuple(maps), attention=tuple(attention), openings=tuple(openings))

    def _gates(self) -> list[LanguageGate]:
        return [gate for gate in self.gates if isinstance(gate, LanguageGate)]
