"""MIL: evaluate Core ML programs with PyTorch."""
