r"""Times models of transformers in risctl's seat against their model card's own loop, at full size with random weights.

    python benchmarks/seats.py clipseg owlvit owlv2 sam2 grounding-dino --repeats 3 --json seats.json
    python benchmarks/seats.py sam3 --repeats 1 --card-phrases 1 --json sam3.json

Each family is built in the configuration of its published weights, with random weights: time and memory do not depend
on them, and there are none to be had offline. "Ours" encodes the picture and asks all phrases; "card" is the loop that
model cards show: for each phrase, the processor on picture and text, one forward pass, and post-processing to the
picture's size. Each is run in a process of its own, one thread, the median of the repeats after one picture to warm up
(none where `--repeats 1`); the seconds are the processor's, on which other programs have little influence, and the peak
memory is that of the process, with model and libraries. `--card-phrases 1` runs the card's loop for one phrase and
takes its time five times, since each turn of the loop does the same. SAM 2 is asked five boxes in place of phrases.
SAM 3 takes minutes.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

PHRASES = (
    "the red cup on the left",
    "a man in a blue shirt",
    "the dog behind the sofa",
    "second plate from the right",
    "the largest book",
)
_PICTURE = (480, 640)


def main() -> int:
    """Runs the measurements, prints and writes them; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="+", choices=tuple(FAMILIES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--card-phrases", type=int, choices=range(1, len(PHRASES) + 1), default=len(PHRASES))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--how", choices=("ours", "card"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.how is not None:
        print(json.dumps(_measured(arguments.families[0], arguments.how, arguments.repeats, arguments.card_phrases)))
        return 0
    report: dict[str, Any] = {"phrases": len(PHRASES), "picture": list(_PICTURE), "families": {}}
    for name in arguments.families:
        row = {}
        for how in ("ours", "card"):
            command = [sys.executable, __file__, name, "--how", how, "--repeats", str(arguments.repeats)]
            command += ["--card-phrases", str(arguments.card_phrases)]
            ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            row[how] = json.loads(ran.stdout.splitlines()[-1])
        row["ratio"] = round(row["card"]["seconds"] / row["ours"]["seconds"], 2)
        report["families"][name] = row
        print(name, json.dumps(row), flush=True)
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


def _measured(name: str, how: str, repeats: int, card_phrases: int) -> dict[str, float]:
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    ours, card, model = FAMILIES[name]()
    pixels = np.random.default_rng(0).integers(0, 255, (*_PICTURE, 3), dtype=np.uint8)
    asked = len(PHRASES) if how == "ours" else card_phrases
    run = ours if how == "ours" else lambda pixels: card(pixels, PHRASES[:asked])
    seconds = []
    with torch.no_grad():
        for _ in range(repeats if repeats == 1 else repeats + 1):
            began = time.process_time()
            run(pixels)
            seconds.append(time.process_time() - began)
    kept = seconds if repeats == 1 else seconds[1:]
    return {
        "seconds": round(statistics.median(kept) * len(PHRASES) / asked, 2),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        "parameters_millions": round(sum(one.numel() for one in model.parameters()) / 1e6, 1),
    }


Made = tuple[Callable[[np.ndarray], Any], Callable[[np.ndarray, Sequence[str]], Any], Any]


def _clipseg() -> Made:
    import transformers as tf

    from risctl.zeroshot.text_prompted import CLIPSeg

    model = tf.CLIPSegForImageSegmentation(tf.CLIPSegConfig()).eval()
    image = tf.ViTImageProcessor(size={"height": 352, "width": 352})
    tokens = _tokens(start="<|startoftext|>", end="<|endoftext|>", longest=77, end_id=49407)
    network = CLIPSeg(model, SimpleNamespace(image_processor=image, tokenizer=tokens), name="clipseg")

    def card(pixels: np.ndarray, texts: Sequence[str]) -> None:
        for text in texts:
            inputs = image(pixels, return_tensors="pt")
            words = tokens([text], padding="max_length", truncation=True, return_tensors="pt")
            logits = model(**inputs, **_words(words)).logits
            _resized(logits.reshape(1, 1, *logits.shape[-2:])).sigmoid()

    return lambda pixels: _drawn(network, pixels), card, model


def _owlv2() -> Made:
    import transformers as tf

    model = tf.Owlv2ForObjectDetection(tf.Owlv2Config(vision_config={"image_size": 960})).eval()
    return _owl(model, tf.Owlv2ImageProcessor(), tf.Owlv2Processor)


def _owlvit() -> Made:
    import transformers as tf

    return _owl(tf.OwlViTForObjectDetection(tf.OwlViTConfig()).eval(), tf.OwlViTImageProcessor(), tf.OwlViTProcessor)


def _owl(model: Any, image: Any, of: Any) -> Made:
    from risctl.models.by_phrase import BoxesByPhrase

    tokens = _tokens(start="<|startoftext|>", end="<|endoftext|>", longest=16, end_id=49407)
    processor = of(image, tokens)
    finder = BoxesByPhrase(model, processor, name="owl")

    def card(pixels: np.ndarray, texts: Sequence[str]) -> None:
        for text in texts:
            inputs = image(pixels, return_tensors="pt")
            words = tokens([text], padding="max_length", truncation=True, return_tensors="pt")
            output = model(**inputs, **_words(words))
            processor.post_process_grounded_object_detection(output, threshold=0.1, target_sizes=[pixels.shape[:2]])

    return lambda pixels: finder.find(finder.encode(pixels), PHRASES), card, model


def _sam2() -> Made:
    import transformers as tf

    from risctl.zeroshot.proposals.box_segmentation import BoxSegmentation

    model = tf.Sam2Model(tf.Sam2Config()).eval()
    processor = tf.Sam2Processor(tf.Sam2ImageProcessor())
    network = BoxSegmentation(model, processor, name="sam2")
    boxes = np.array([[40 + 60 * number, 60, 200 + 60 * number, 300] for number in range(len(PHRASES))], np.float32)

    def card(pixels: np.ndarray, texts: Sequence[str]) -> None:
        for box in boxes[: len(texts)].tolist():
            inputs = processor(images=pixels, input_boxes=[[box]], return_tensors="pt")
            masks = model(**inputs, multimask_output=False).pred_masks
            processor.post_process_masks(masks, inputs["original_sizes"])

    return lambda pixels: network.masks(network.encode(pixels), boxes), card, model


def _grounding_dino() -> Made:
    import transformers as tf

    from risctl.models.by_phrase import BoxesByPhrase

    config = tf.GroundingDinoConfig(text_config={"model_type": "bert", "vocab_size": 30522})
    model = tf.GroundingDinoForObjectDetection(config).eval()
    tokens = _tokens(start="[CLS]", end="[SEP]", longest=256, pad="[PAD]")
    processor = tf.GroundingDinoProcessor(tf.GroundingDinoImageProcessor(), tokens)
    finder = BoxesByPhrase(model, processor, name="grounding-dino")

    def card(pixels: np.ndarray, texts: Sequence[str]) -> None:
        for text in texts:
            inputs = processor(images=pixels, text=f"{text}.", return_tensors="pt")
            output = model(**inputs)
            processor.post_process_grounded_object_detection(
                output, inputs["input_ids"], threshold=0.4, target_sizes=[pixels.shape[:2]]
            )

    return lambda pixels: finder.find(finder.encode(pixels), PHRASES), card, model


def _sam3() -> Made:
    import transformers as tf

    from risctl.zeroshot.text_prompted import SAM3

    model = tf.Sam3Model(tf.Sam3Config()).eval()
    image = tf.Sam3ImageProcessor()
    tokens = _tokens(start="<|startoftext|>", end="<|endoftext|>", longest=32, end_id=49407)
    processor = tf.Sam3Processor(image, tokens)
    network = SAM3(model, processor, name="sam3")

    def card(pixels: np.ndarray, texts: Sequence[str]) -> None:
        for text in texts:
            inputs = image(pixels, return_tensors="pt")
            words = tokens([text], padding="max_length", truncation=True, return_tensors="pt")
            output = model(pixel_values=inputs["pixel_values"], **_words(words))
            processor.post_process_instance_segmentation(output, threshold=0.3, target_sizes=[pixels.shape[:2]])

    return lambda pixels: _drawn(network, pixels), card, model


FAMILIES: dict[str, Callable[[], Made]] = {
    "clipseg": _clipseg,
    "owlvit": _owlvit,
    "owlv2": _owlv2,
    "sam2": _sam2,
    "grounding-dino": _grounding_dino,
    "sam3": _sam3,
}
"""By name, what builds a family: ours, the card's loop, and the model that both share."""


def _drawn(network: Any, pixels: np.ndarray) -> None:
    for found in network.find(network.encode(pixels), PHRASES):
        found.draw([int(found.scores.argmax())])


def _resized(logits: Any) -> Any:
    from torch.nn import functional

    return functional.interpolate(logits, size=_PICTURE, mode="bilinear", align_corners=False)


def _words(made: Any) -> dict[str, Any]:
    return {name: made[name] for name in ("input_ids", "attention_mask")}


def _tokens(*, start: str, end: str, longest: int, pad: str | None = None, end_id: int | None = None) -> Any:
    """Returns a tokenizer that knows the words of the phrases, whose ids stand at the published places."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    words = [pad or "[PAD]", "[UNK]", start, ".", *dict.fromkeys(" ".join(PHRASES).split())]
    ids = {word: number for number, word in enumerate(words)}
    ids[end] = len(ids) if end_id is None else end_id
    inner = Tokenizer(WordLevel(ids, unk_token="[UNK]"))
    inner.pre_tokenizer = Whitespace()
    inner.post_processor = TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(start, ids[start]), (end, ids[end])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        model_max_length=longest,
        pad_token=words[0],
        unk_token="[UNK]",
        bos_token=start,
        eos_token=end,
        cls_token=start,
        sep_token=end,
    )


if __name__ == "__main__":
    sys.exit(main())
