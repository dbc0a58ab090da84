"""Drawing on images with Pillow: overlays, captions, colours, contact sheets."""
