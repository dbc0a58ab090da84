"""Models of transformers that segment or find by text, fine-tuned: CLIPSeg, SAM 3, Grounding DINO, OWL-ViT."""
