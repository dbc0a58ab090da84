"""Straightforward implementations of LAVT, CRIS and ReLA, written from the papers' equations, to compare speeds with.

Each module has `Plain(system)`, a module with the weights of a built system, whose forward takes images (B, 3, H, W) in
[0, 1], token ids (B, L) and their mask (B, L), and returns the system's logits. One expression an image, every padded
token computed, attention as product, softmax, product.
"""
