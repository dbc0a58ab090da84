"""The names and shapes in a published ReLA checkpoint, written out from its modules' own structure."""

from __future__ import annotations

from helpers.published_referformer import RESNETS
from helpers.published_shapes import Shapes, attention, linear, norm

SWINS = {"swin_t": (96, (2, 2, 6, 2)), "swin_s": (96, (2, 2, 18, 2)), "swin_b": (128, (2, 2, 18, 2))}
"""Width and blocks of the stages."""


def rela_shapes(
    backbone: str,
    *,
    window: int = 7,
    hidden: int = 256,
    feed_forward: int = 2048,
    pixel_layers: int = 6,
    layers: int = 9,
    regions: int = 100,
    text_layers: int = 12,
    text_width: int = 768,
    words: int = 30522,
) -> Shapes:
    """Return {name: shape} of a checkpoint with `backbone`."""
    shapes: Shapes = {}
    if backbone in RESNETS:
        channels = _resnet(shapes, RESNETS[backbone])
    else:
        channels = _swin(shapes, *SWINS[backbone], window=window, words=text_width)
    _pixel_decoder(shapes, channels, hidden, layers=pixel_layers)
    _predictor(shapes, hidden, feed_forward, layers=layers, regions=regions, words=text_width)
    _bert(shapes, text_layers, text_width, words)
    return shapes


def _swin(shapes: Shapes, width: int, depths: tuple[int, ...], *, window: int, words: int) -> tuple[int, int, int, int]:
    shapes |= {"backbone.patch_embed.proj.weight": (width, 3, 4, 4), "backbone.patch_embed.proj.bias": (width,)}
    norm(shapes, "backbone.patch_embed.norm", width)
    for stage, blocks in enumerate(depths):
        channels = width * 2**stage
        top = f"backbone.layers.{stage}."
        for block in range(blocks):
            prefix = f"{top}blocks.{block}."
            norm(shapes, f"{prefix}norm1", channels)
            shapes[f"{prefix}attn.relative_position_bias_table"] = ((2 * window - 1) ** 2, channels // 32)
            shapes[f"{prefix}attn.relative_position_index"] = (window**2, window**2)
            linear(shapes, f"{prefix}attn.qkv", channels, 3 * channels)
            linear(shapes, f"{prefix}attn.proj", channels, channels)
            norm(shapes, f"{prefix}norm2", channels)
            linear(shapes, f"{prefix}mlp.fc1", channels, 4 * channels)
            linear(shapes, f"{prefix}mlp.fc2", 4 * channels, channels)
        for name, inputs in (
            ("vis_project", channels),
            ("image_lang_att.f_key", words),
            ("image_lang_att.f_query", channels),
            ("image_lang_att.f_value", words),
            ("image_lang_att.W", channels),
            ("project_mm", channels),
        ):
            shapes[f"{top}fusion.{name}.0.weight"] = (channels, inputs, 1)
            shapes[f"{top}fusion.{name}.0.bias"] = (channels,)
        if stage < 3:
            shapes[f"{top}res_gate.0.weight"] = shapes[f"{top}res_gate.2.weight"] = (channels, channels)
            shapes[f"{top}downsample.reduction.weight"] = (2 * channels, 4 * channels)
            norm(shapes, f"{top}downsample.norm", 4 * channels)
        norm(shapes, f"backbone.norm{stage}", channels)
    return width, 2 * width, 4 * width, 8 * width


def _resnet(shapes: Shapes, depths: tuple[int, ...]) -> tuple[int, int, int, int]:
    def convolution(name: str, inputs: int, outputs: int, kernel: int) -> None:
        shapes[f"backbone.{name}.weight"] = (outputs, inputs, kernel, kernel)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"backbone.{name}.norm.{part}"] = (outputs,)

    convolution("stem.conv1", 3, 64, 7)
    inputs = 64
    for stage, blocks in enumerate(depths):
        width = 64 * 2**stage
        for block in range(blocks):
            prefix = f"res{stage + 2}.{block}."
            if block == 0:
                convolution(f"{prefix}shortcut", inputs, 4 * width, 1)
            convolution(f"{prefix}conv1", inputs, width, 1)
            convolution(f"{prefix}conv2", width, width, 3)
            convolution(f"{prefix}conv3", width, 4 * width, 1)
            inputs = 4 * width
    return 256, 512, 1024, 2048


def _pixel_decoder(shapes: Shapes, channels: tuple[int, int, int, int], hidden: int, *, layers: int) -> None:
    top = "sem_seg_head.pixel_decoder."
    for number, inputs in enumerate(reversed(channels[1:])):
        shapes[f"{top}input_proj.{number}.0.weight"] = (hidden, inputs, 1, 1)
        shapes[f"{top}input_proj.{number}.0.bias"] = (hidden,)
        norm(shapes, f"{top}input_proj.{number}.1", hidden)
    shapes[f"{top}transformer.level_embed"] = (3, hidden)
    for number in range(layers):
        prefix = f"{top}transformer.encoder.layers.{number}."
        for name, outputs in (
            ("sampling_offsets", 192),
            ("attention_weights", 96),
            ("value_proj", hidden),
            ("output_proj", hidden),
        ):
            linear(shapes, f"{prefix}self_attn.{name}", hidden, outputs)
        norm(shapes, f"{prefix}norm1", hidden)
        linear(shapes, f"{prefix}linear1", hidden, 1024)
        linear(shapes, f"{prefix}linear2", 1024, hidden)
        norm(shapes, f"{prefix}norm2", hidden)
    shapes[f"{top}mask_features.weight"], shapes[f"{top}mask_features.bias"] = (256, hidden, 1, 1), (256,)
    shapes[f"{top}adapter_1.weight"], shapes[f"{top}layer_1.weight"] = (
        (hidden, channels[0], 1, 1),
        (hidden, hidden, 3, 3),
    )
    for name in ("adapter_1", "layer_1"):
        norm(shapes, f"{top}{name}.norm", hidden)


def _predictor(shapes: Shapes, hidden: int, feed_forward: int, *, layers: int, regions: int, words: int) -> None:
    top = "sem_seg_head.predictor."
    shapes[f"{top}lang_weight"] = ()
    for number in range(layers):
        attention(shapes, f"{top}RLA_vision.{number}.self_attn.", hidden)
        attention(shapes, f"{top}RIA_layers.{number}.multihead_attn.", hidden)
        linear(shapes, f"{top}transformer_ffn_layers.{number}.linear1", hidden, feed_forward)
        linear(shapes, f"{top}transformer_ffn_layers.{number}.linear2", feed_forward, hidden)
        for name in ("RLA_vision", "RIA_layers", "transformer_ffn_layers"):
            norm(shapes, f"{top}{name}.{number}.norm", hidden)
    norm(shapes, f"{top}decoder_norm", hidden)
    for name, rows in (("query_feat", regions), ("query_embed", regions), ("level_embed", 3)):
        shapes[f"{top}{name}.weight"] = (rows, hidden)
    shapes[f"{top}lang_proj.weight"] = (hidden, words)
    attention(shapes, f"{top}RLA_lang_att.multihead_attn.", hidden)
    norm(shapes, f"{top}RLA_lang_att.norm", hidden)
    linear(shapes, f"{top}minimap_embed", hidden, 2)
    for number, outputs in enumerate((hidden, 2)):
        linear(shapes, f"{top}nt_embed.layers.{number}", hidden, outputs)
    for number, outputs in enumerate((hidden, hidden, 256)):
        linear(shapes, f"{top}mask_embed.layers.{number}", hidden, outputs)


def _bert(shapes: Shapes, layers: int, width: int, words: int) -> None:
    prefix = "text_encoder.embeddings."
    for name, rows in (("word", words), ("position", 512), ("token_type", 2)):
        shapes[f"{prefix}{name}_embeddings.weight"] = (rows, width)
    norm(shapes, f"{prefix}LayerNorm", width)
    for layer in range(layers):
        prefix = f"text_encoder.encoder.layer.{layer}."
        for name in ("query", "key", "value"):
            linear(shapes, f"{prefix}attention.self.{name}", width, width)
        linear(shapes, f"{prefix}attention.output.dense", width, width)
        norm(shapes, f"{prefix}attention.output.LayerNorm", width)
        linear(shapes, f"{prefix}intermediate.dense", width, 4 * width)
        linear(shapes, f"{prefix}output.dense", 4 * width, width)
        norm(shapes, f"{prefix}output.LayerNorm", width)
