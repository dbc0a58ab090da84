"""Trains the small English parser that risctl ships: `python tools/train_parser.py UD_FOLDER --out FOLDER`.

A spaCy pipeline of a shared tok2vec, a tagger (universal tags) and a dependency parser (UD relations), trained on UD
English EWT and on generated phrases (`referring_phrases.py`). Half of the treebank's sentences are lower-cased and
stripped of punctuation, as referring expressions are typed, and some of their noun phrases stand alone. Takes
`--minutes` on one core; measure it with `tools/measure_noun_phrases.py`.
"""

from __future__ import annotations

import argparse
import gzip
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import spacy
from referring_phrases import Parsed, PhraseMaker
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import minibatch

NOMINAL = ("NOUN", "PROPN")


def read_conllu(path: Path) -> Iterator[Parsed]:
    """Yields the sentences of a CoNLL-U file, multi-word tokens as their words."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        rows: list[list[str]] = []
        for line in file:
            if line.startswith("#"):
                continue
            if line.strip():
                rows.append(line.rstrip("\n").split("\t"))
            elif rows:
                yield _sentence([row for row in rows if row[0].isdecimal()])
                rows = []


def _sentence(rows: list[list[str]]) -> Parsed:
    heads = [int(row[6]) - 1 for row in rows]
    return Parsed(
        words=[row[1].replace(" ", "_") for row in rows],
        tags=[row[3] for row in rows],
        heads=[number if head < 0 else head for number, head in enumerate(heads)],
        relations=["ROOT" if row[7] == "root" else _relation(row[7]) for row in rows],
    )


def _relation(name: str) -> str:
    """Keeps the few subtypes that noun chunks use."""
    return name if name in ("nmod:poss", "acl:relcl") else name.split(":")[0]


def part(parsed: Parsed, chosen: list[int], root: int) -> Parsed:
    """Returns some tokens of a parse as a parse of its own; tokens with a head outside are attached to `root`."""
    place = {old: new for new, old in enumerate(chosen)}
    heads = [place[old] if old == root else place.get(parsed.heads[old], place[root]) for old in chosen]
    relations = ["ROOT" if old == root else parsed.relations[old] for old in chosen]
    return Parsed(
        [parsed.words[index] for index in chosen],
        [parsed.tags[index] for index in chosen],
        heads,
        relations,
    )


def as_typed(parsed: Parsed) -> Parsed | None:
    """Returns a sentence in lower case without punctuation, None if no token or no root remains."""
    chosen = [number for number, tag in enumerate(parsed.tags) if tag not in ("PUNCT", "SYM")]
    roots = [number for number in chosen if parsed.heads[number] == number]
    if len(roots) != 1:
        return None
    kept = part(parsed, chosen, roots[0])
    return Parsed([word.lower() for word in kept.words], kept.tags, kept.heads, kept.relations)


def noun_phrases(parsed: Parsed) -> Iterator[Parsed]:
    """Yields the noun phrases of a sentence as independent phrases, without their preposition."""
    for noun, tag in enumerate(parsed.tags):
        if tag not in NOMINAL or parsed.relations[noun] in ("compound", "flat", "conj"):
            continue
        inside = [number for number in range(len(parsed.words)) if _below(parsed, number, noun)]
        inside = [
            one
            for one in inside
            if not (
                parsed.heads[one] == noun
                and parsed.relations[one] in ("case", "mark", "cc", "punct", "cop", "nsubj", "advcl")
                and one != noun
            )
        ]
        if not 1 < len(inside) <= 10 or inside[-1] - inside[0] + 1 != len(inside):
            continue
        yield part(parsed, inside, noun)


def _below(parsed: Parsed, number: int, head: int) -> bool:
    while number != head:
        above = parsed.heads[number]
        if above == number:
            return False
        number = above
    return True


class Examples:
    """The training examples of each round."""

    def __init__(self, nlp: Language, treebank: list[Parsed], *, phrases: int) -> None:
        self._nlp, self._treebank, self._phrases = nlp, treebank, phrases
        counts = Counter(
            word.lower()
            for sentence in treebank
            for word, tag in zip(sentence.words, sentence.tags, strict=True)
            if tag == "NOUN"
        )
        self.nouns = [word for word, count in counts.items() if count > 2 and word.isalpha() and len(word) > 2]
        fragments = (fragment for sentence in treebank for fragment in noun_phrases(sentence))
        self._fragments = [typed for fragment in fragments if (typed := as_typed(fragment)) is not None]

    def round(self, number: int) -> list[Example]:
        """Returns the examples of one round, shuffled."""
        generator = random.Random(number)
        shown: list[Parsed] = []
        for index in generator.sample(self._treebank, len(self._treebank) // 2):
            typed = as_typed(index) if generator.random() < 0.6 else index
            shown += [typed] if typed is not None else []
        shown += generator.sample(self._fragments, min(len(self._fragments), self._phrases // 2))
        maker = PhraseMaker(1000 + number, nouns=self.nouns)
        shown += [maker.make() for _ in range(self._phrases)]
        generator.shuffle(shown)
        return [self.example(index) for index in shown]

    def example(self, parsed: Parsed) -> Example:
        """Returns a parse as a training example of spaCy."""
        truth = {"words": parsed.words, "tags": parsed.tags, "heads": parsed.heads, "deps": parsed.relations}
        return Example.from_dict(Doc(self._nlp.vocab, words=parsed.words), truth)


def build(width: int, rows: int) -> Language:
    """Returns the untrained pipeline."""
    nlp = spacy.blank("en")
    embed = {
        "@architectures": "spacy.HashEmbedCNN.v2",
        "pretrained_vectors": None,
        "width": width,
        "depth": 4,
        "embed_size": rows,
        "window_size": 1,
        "maxout_pieces": 3,
        "subword_features": True,
    }
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": width, "upstream": "*"}
    nlp.add_pipe("tok2vec", config={"model": embed})
    nlp.add_pipe("tagger", config={"model": {"@architectures": "spacy.Tagger.v2", "tok2vec": listener}})
    parser = {
        "@architectures": "spacy.TransitionBasedParser.v2",
        "state_type": "parser",
        "extra_state_tokens": False,
        "hidden_width": 64,
        "maxout_pieces": 2,
        "use_upper": True,
        "tok2vec": listener,
    }
    nlp.add_pipe("parser", config={"model": parser, "min_action_freq": 20, "learn_tokens": False})
    return nlp


META = {
    "name": "risctl_english_parser",
    "version": "1.0.0",
    "spacy_version": ">=3.8.0,<4.0.0",
    "description": "Universal tags and UD relations for short English phrases",
    "author": "the risctl project",
    "license": "CC BY-SA 4.0",
}


def main() -> int:
    """Trains and writes the pipeline."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("treebank", type=Path, metavar="UD_FOLDER")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=14)
    parser.add_argument("--phrases", type=int, default=9000, help="generated phrases per round")
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--rows", type=int, default=3000)
    options = parser.parse_args()
    began = time.monotonic()
    spacy.util.fix_random_seed(0)
    [train_file] = options.treebank.glob("*train*.conllu*")
    [dev_file] = options.treebank.glob("*dev*.conllu*")
    nlp = build(options.width, options.rows)
    nlp.meta.update(META)
    examples = Examples(nlp, list(read_conllu(train_file)), phrases=options.phrases)
    dev = [examples.example(one) for one in list(read_conllu(dev_file))[:600]]
    first = examples.round(0)
    optimizer = nlp.initialize(lambda: first)
    optimizer.learn_rate = 0.001
    averaged, number, finished = None, 0, False
    while not finished:
        losses: dict[str, float] = {}
        shown = first if number == 0 else examples.round(number)
        for batch in minibatch(shown, size=64):
            spent = (time.monotonic() - began) / (60 * options.minutes)
            if spent >= 1:
                finished = True
                break
            # The learning rate falls linearly over the given time.
            optimizer.learn_rate = 0.002 * max(0.02, 1 - spent)
            nlp.update(list(batch), sgd=optimizer, losses=losses, drop=0.1)
        number += 1
        with nlp.use_params(optimizer.averages):
            scores = nlp.evaluate(dev)
            nlp.to_disk(options.out)
        report = {name: round(scores[name], 4) for name in ("tag_acc", "dep_uas", "dep_las")}
        print(f"round {number}, {time.monotonic() - began:.0f} s: {report}", flush=True)
        averaged = report
    print(f"written to {options.out}: {averaged}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
