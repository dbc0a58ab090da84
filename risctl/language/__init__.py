"""Handles words: vocabularies, word vectors, tokenizers, and the parsing of expressions."""
