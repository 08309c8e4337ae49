"""ncnn: the engine and its two files."""
