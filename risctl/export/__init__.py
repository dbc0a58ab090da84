"""Takes models out of torch: graphs for ONNX Runtime and other engines, in a folder that says all that they need."""
