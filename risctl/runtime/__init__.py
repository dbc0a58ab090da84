"""Predicts with exported graphs: numpy, Pillow and ONNX Runtime, without torch."""
