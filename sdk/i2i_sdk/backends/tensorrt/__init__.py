"""TensorRT: the engine, its builder, the kinds of TensorRT, and CUDA."""
