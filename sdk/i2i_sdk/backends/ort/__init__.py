"""ONNX Runtime: the engine, its execution providers, and what its files say of their layers."""
