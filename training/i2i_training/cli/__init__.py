"""Commands of `i2i` that need PyTorch."""
