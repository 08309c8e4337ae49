"""The commands of `i2i` that need no PyTorch: one file each with `main(argv) -> exit code`."""
