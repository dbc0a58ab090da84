"""Words as rows of a table, and of their hashed n-grams."""

from __future__ import annotations

import torch

from risctl.core.encoders.text.hashed_words import GRAMS, HashedWords, WordIds, gram_buckets, split_words

WORDS = ("left", "right", "second", "from", "big", "dog", "cat", "on", "the", "red", "blue")


def test_text_is_split_into_words() -> None:
    assert split_words("The man's T-shirt, 2nd from LEFT!") == ["the", "man", "s", "t", "shirt", "2nd", "from", "left"]
    assert split_words("  ... ") == []
    assert len(split_words("word " * 50, max_words=20)) == 20


def test_similar_words_share_n_grams() -> None:
    assert len(set(gram_buckets("zebra", buckets=4096)) & set(gram_buckets("zebras", buckets=4096))) >= 6
    assert not set(gram_buckets("zebra", buckets=4096)) & set(gram_buckets("truck", buckets=4096))
    assert len(gram_buckets("a" * 90, buckets=64)) == GRAMS
    # A checkpoint's rows are these wherever it is read.
    assert gram_buckets("left", buckets=4096) == [1178, 217, 2525, 4057, 462, 1896, 3814]


def test_ids_and_embeddings_of_words() -> None:
    ids_of = WordIds(WORDS, max_words=5)
    words = HashedWords(len(WORDS), channels=8, max_words=5)
    ids = ids_of("left zebras")
    assert ids.shape == (5, 1 + GRAMS)
    assert ids[0, 0] == 2 and ids[1, 0] == 1 and not ids[2:].any()
    vectors = words(ids)
    assert not vectors[2:].any()
    # Unknown words differ by their letters.
    assert not torch.equal(words(ids_of("zebras"))[0], words(ids_of("trucks"))[0])


def test_published_vectors_give_words_that_training_never_meets_a_meaning() -> None:
    vectors = torch.zeros(len(WORDS) + 2, 3)
    vectors[2:] = torch.rand(len(WORDS), 3, generator=torch.Generator().manual_seed(0)) + 0.1
    torch.manual_seed(0)
    words = HashedWords(len(WORDS), channels=8, max_words=5, dim=3, vectors=vectors.numpy(), row_dropout=1.0)
    ids = WordIds(WORDS, max_words=5)("dog zebras")
    assert words.project is not None
    torch.nn.init.normal_(words.project.weight)
    known = words.eval()(ids)
    dropped = words.train()(ids)
    assert not torch.allclose(known[0], dropped[0])
    own = words.words.weight
    assert torch.allclose(dropped[0] - known[0], own[1] - own[ids[0, 0]], atol=1e-6)
    assert torch.equal(known[1], dropped[1])  # without a vector there is nothing else than the row
    words.eval().fold()
    assert torch.allclose(words(ids), known, atol=1e-6) and set(words.state_dict()) == {"words.weight", "grams.weight"}
