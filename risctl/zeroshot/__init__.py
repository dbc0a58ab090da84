"""Referring segmentation without training: proposals and CLIP, and text-prompted networks."""
