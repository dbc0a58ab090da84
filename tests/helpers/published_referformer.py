"""The names and shapes in a published ReferFormer checkpoint, written out from its modules' own structure."""

from __future__ import annotations

from helpers.published_shapes import Shapes, attention, linear, norm

RESNETS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
SWINS = {
    "swin_t": (96, (2, 2, 6, 2)),
    "swin_s": (96, (2, 2, 18, 2)),
    "swin_b": (128, (2, 2, 18, 2)),
    "swin_l": (192, (2, 2, 18, 2)),
    "video_swin_t": (96, (2, 2, 6, 2)),
    "video_swin_s": (96, (2, 2, 18, 2)),
    "video_swin_b": (128, (2, 2, 18, 2)),
}
BACKBONE_KEYS = {
    "resnet50": 265,
    "resnet101": 520,
    "swin_t": 189,
    "swin_s": 357,
    "swin_b": 357,
    "swin_l": 357,
    "video_swin_t": 181,
    "video_swin_s": 349,
    "video_swin_b": 349,
}


def referformer_shapes(
    backbone: str,
    *,
    hidden: int = 256,
    feed_forward: int = 2048,
    layers: int = 4,
    queries: int = 5,
    classes: int = 1,
    text_layers: int = 12,
    text_width: int = 768,
    words: int = 50265,
) -> Shapes:
    """Return {name: shape} of a checkpoint with `backbone`."""
    shapes: Shapes = {"transformer.level_embed": (4, hidden)}
    for number in range(layers):
        encoder, decoder = (f"transformer.{part}.layers.{number}." for part in ("encoder", "decoder"))
        _deformable(shapes, f"{encoder}self_attn.", hidden)
        _deformable(shapes, f"{decoder}cross_attn.", hidden)
        attention(shapes, f"{decoder}self_attn.", hidden)
        for prefix, norms in ((encoder, 2), (decoder, 3)):
            _block(shapes, prefix, hidden, feed_forward, norms=norms)
        for top in ("transformer.decoder.bbox_embed.", "bbox_embed."):
            for layer, outputs in enumerate((hidden, hidden, 4)):
                linear(shapes, f"{top}{number}.layers.{layer}", hidden, outputs)
        linear(shapes, f"class_embed.{number}", hidden, classes)
    linear(shapes, "transformer.reference_points", hidden, 2)
    shapes["query_embed.weight"] = (queries, hidden)
    backbone, channels = _resnet(backbone) if backbone in RESNETS else _swin(backbone)
    shapes |= {f"backbone.0.body.{name}": shape for name, shape in backbone.items()}
    for level, (inputs, kernel) in enumerate(((channels[1], 1), (channels[2], 1), (channels[3], 1), (channels[3], 3))):
        shapes[f"input_proj.{level}.0.weight"] = (hidden, inputs, kernel, kernel)
        shapes[f"input_proj.{level}.0.bias"] = (hidden,)
        norm(shapes, f"input_proj.{level}.1", hidden)
    _roberta(shapes, text_layers, text_width, words)
    linear(shapes, "resizer.fc", text_width, hidden)
    norm(shapes, "resizer.layer_norm", hidden)
    attention(shapes, "fusion_module.multihead_attn.", hidden)
    for stage in (1, 2, 3, 4):
        inputs = channels[0] if stage == 1 else hidden
        shapes[f"pixel_decoder.adapter_{stage}.weight"] = (hidden, inputs, 1, 1)
        shapes[f"pixel_decoder.layer_{stage}.weight"] = (hidden, hidden, 3, 3)
        for part in ("adapter", "layer"):
            norm(shapes, f"pixel_decoder.{part}_{stage}.norm", hidden)
        block = f"pixel_decoder.cross_attn_{stage}."
        attention(shapes, f"{block}self_attn.", hidden)
        attention(shapes, f"{block}multihead_attn.", hidden)
        _block(shapes, block, hidden, feed_forward, norms=3)
    shapes["pixel_decoder.mask_features.weight"] = (hidden, hidden, 3, 3)
    shapes["pixel_decoder.mask_features.bias"] = (hidden,)
    for layer, outputs in enumerate((hidden, hidden, (hidden + 2) * 8 + 64 + 8 + 8 + 8 + 1)):
        linear(shapes, f"controller.layers.{layer}", hidden, outputs)
    return shapes


def _deformable(shapes: Shapes, prefix: str, hidden: int) -> None:
    for name, outputs in (
        ("sampling_offsets", 256),
        ("attention_weights", 128),
        ("value_proj", hidden),
        ("output_proj", hidden),
    ):
        linear(shapes, prefix + name, hidden, outputs)


def _block(shapes: Shapes, prefix: str, hidden: int, feed_forward: int, *, norms: int) -> None:
    linear(shapes, f"{prefix}linear1", hidden, feed_forward)
    linear(shapes, f"{prefix}linear2", feed_forward, hidden)
    for number in range(1, norms + 1):
        norm(shapes, f"{prefix}norm{number}", hidden)


def _resnet(backbone: str) -> tuple[Shapes, tuple[int, ...]]:
    shapes: Shapes = {"conv1.weight": (64, 3, 7, 7)}
    _frozen_norm(shapes, "bn1", 64)
    inputs = 64
    for stage, blocks in enumerate(RESNETS[backbone]):
        width = 64 * 2**stage
        for block in range(blocks):
            prefix = f"layer{stage + 1}.{block}."
            for number, (into, out, kernel) in enumerate(
                ((inputs, width, 1), (width, width, 3), (width, 4 * width, 1)), start=1
            ):
                shapes[f"{prefix}conv{number}.weight"] = (out, into, kernel, kernel)
                _frozen_norm(shapes, f"{prefix}bn{number}", out)
            if block == 0:
                shapes[f"{prefix}downsample.0.weight"] = (4 * width, inputs, 1, 1)
                _frozen_norm(shapes, f"{prefix}downsample.1", 4 * width)
            inputs = 4 * width
    return shapes, (256, 512, 1024, 2048)


def _frozen_norm(shapes: Shapes, name: str, channels: int) -> None:
    for part in ("weight", "bias", "running_mean", "running_var"):
        shapes[f"{name}.{part}"] = (channels,)


def _swin(backbone: str) -> tuple[Shapes, tuple[int, ...]]:
    width, depths = SWINS[backbone]
    video = backbone.startswith("video")
    shapes: Shapes = {
        "patch_embed.proj.weight": (width, 3, 1, 4, 4) if video else (width, 3, 4, 4),
        "patch_embed.proj.bias": (width,),
    }
    norm(shapes, "patch_embed.norm", width)
    cells, places = (392, 15 * 13 * 13) if video else (49, 13 * 13)
    for stage, blocks in enumerate(depths):
        channels = width * 2**stage
        for block in range(blocks):
            prefix = f"layers.{stage}.blocks.{block}."
            norm(shapes, f"{prefix}norm1", channels)
            shapes[f"{prefix}attn.relative_position_bias_table"] = (places, channels // 32)
            shapes[f"{prefix}attn.relative_position_index"] = (cells, cells)
            linear(shapes, f"{prefix}attn.qkv", channels, 3 * channels)
            linear(shapes, f"{prefix}attn.proj", channels, channels)
            norm(shapes, f"{prefix}norm2", channels)
            linear(shapes, f"{prefix}mlp.fc1", channels, 4 * channels)
            linear(shapes, f"{prefix}mlp.fc2", 4 * channels, channels)
        if stage < 3:
            merge = f"downsamples.{stage}." if video else f"layers.{stage}.downsample."
            shapes[f"{merge}reduction.weight"] = (2 * channels, 4 * channels)
            norm(shapes, f"{merge}norm", 4 * channels)
        if not video:
            norm(shapes, f"norm{stage}", channels)
    return shapes, tuple(width * 2**stage for stage in range(4))


def _roberta(shapes: Shapes, layers: int, width: int, words: int) -> None:
    prefix = "text_encoder.embeddings."
    for name, rows in (("word", words), ("token_type", 1), ("position", 514)):
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
    linear(shapes, "text_encoder.pooler.dense", width, width)
