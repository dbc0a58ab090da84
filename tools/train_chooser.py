"""Train the mini model's chooser on expressions without pixels, and measure it.

    python tools/train_chooser.py DATA OUT.safetensors [--broad 8] [--close 8] [--seed 0]

DATA holds `refcoco_train_sample`, `referitgame`, `refcoco_eval` and `refer_mini` as the project's shared data does. Two
stages: broadly, on the train sample, ReferItGame's train and val expressions and phrases made about the train sample's
boxes; then closely, on the train sample. No picture of an evaluation split, nor of refer_mini, is trained on. Prints
the share of right choices among all boxes for every evaluation split, as JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

from risctl.core.encoders.text.hashed_words import HashedWords, WordIds, split_words
from risctl.core.fusion.choose import Chooser
from risctl.core.fusion.colour_histograms import APPEARANCE
from risctl.data.box_noise import Disturbance
from risctl.data.box_questions import BoxQuestion
from risctl.data.datasets.coco_phrases.about_boxes import questions_about
from risctl.data.datasets.refcoco_boxes import (
    EVALUATION_SPLITS,
    boxes_of_train_sample,
    evaluation_images,
    read_evaluation,
    read_referitgame,
    read_train_sample,
)
from risctl.engine.box_choice import ChoiceTraining, choice_accuracy, train_chooser
from risctl.language.flips import swap_left_right


def vocabulary(questions: Sequence[BoxQuestion], *, least: int = 2) -> list[str]:
    """Return the words that stand in at least `least` questions, their mirror images too."""
    counts = Counter(word for one in questions for word in set(split_words(one.text)))
    known = {word for word, count in counts.items() if count >= least}
    return sorted(known | {word for one in known for word in split_words(swap_left_right(one))})


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--broad", type=int, default=8, help="epochs of the first stage")
    parser.add_argument("--close", type=int, default=8, help="epochs of the second stage")
    parser.add_argument("--channels", type=int, default=160)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    pictures = chosen.data / "refer_mini" / "images" / "train2014"
    away = evaluation_images(chosen.data / "refcoco_eval")
    away |= {int(match[1]) for one in pictures.iterdir() if (match := re.search(r"_(\d{12})", one.name))}
    sample = read_train_sample(chosen.data / "refcoco_train_sample", exclude=away)
    referit = [one for split in ("train", "val") for one in read_referitgame(chosen.data / "referitgame", split=split)]
    boxes = boxes_of_train_sample(chosen.data / "refcoco_train_sample", exclude=away)

    def made(count: int, epoch: int) -> list[BoxQuestion]:
        rng = random.Random(f"{chosen.seed} {epoch}")
        questions: list[BoxQuestion] = []
        while len(questions) < count:
            questions.extend(questions_about(rng.choice(boxes), rng, count=3))
        return questions[:count]

    words = vocabulary([*sample, *referit, *made(40_000, -1)])
    word_ids = WordIds(words)
    torch.manual_seed(chosen.seed)
    chooser = Chooser(
        HashedWords(len(words), channels=chosen.channels),
        channels=chosen.channels,
        layers=chosen.layers,
        word_dropout=0.05,
        appearance=APPEARANCE,
    )
    began = time.monotonic()

    def report(epoch: int, terms: dict[str, float]) -> None:
        shown = " ".join(f"{name} {value:.3f}" for name, value in terms.items())
        print(f"epoch {epoch + 1} at {time.monotonic() - began:.0f} s: {shown}", file=sys.stderr, flush=True)

    train_chooser(
        chooser,
        lambda epoch: [*sample, *referit, *made(int(1.5 * len(sample)), epoch)],
        word_ids=word_ids,
        settings=ChoiceTraining(epochs=chosen.broad, batch_size=128, rate=8e-4, seed=chosen.seed),
        disturbance=Disturbance(detector=0.3, colours=0.6, typo=0.03),
        appearance=APPEARANCE,
        report=report,
    )
    train_chooser(
        chooser,
        lambda epoch: [*sample, *made(len(sample) // 3, chosen.broad + epoch)],
        word_ids=word_ids,
        settings=ChoiceTraining(epochs=chosen.close, batch_size=64, rate=3e-4, seed=chosen.seed + 1),
        disturbance=Disturbance(detector=0.3, colours=0.6, typo=0.03),
        appearance=APPEARANCE,
        report=report,
    )
    tensors = {name: tensor.contiguous() for name, tensor in chooser.state_dict().items()}
    save_file(tensors, chosen.out, metadata={"words": json.dumps(words)})
    figures = {
        split: round(
            choice_accuracy(chooser, read_evaluation(chosen.data / "refcoco_eval", split), word_ids=word_ids), 4
        )
        for split in EVALUATION_SPLITS
    }
    print(json.dumps({"box choice": figures, "seconds": round(time.monotonic() - began)}))


if __name__ == "__main__":
    main()
