"""ONNX -> TensorRT engine, and a look at what was built: on the machine that exports, or on the device.

A graph is built as it is typed, and two things are read back: what the convolutions of the parsed network
compute in, and what became of each of them in the engine. The second is needed because Q/DQ is a wish
that the builder may leave unfulfilled without a word.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from i2i_sdk.backends.tensorrt.flavors import Library
from i2i_sdk.bundle.manifest import MAX_BATCH
from i2i_sdk.errors import BackendError

log = logging.getLogger(__name__)

COMPUTE_LAYERS = ("CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY")  # where the time goes
ALLOWED_PRECISIONS = {"fp16": {"fp16"}, "int8": {"fp16", "int8"}}
NETWORK_TYPES = {"FLOAT": "fp32", "HALF": "fp16", "BF16": "bf16", "INT8": "int8"}  # of networks
# In descriptions of engines: as TensorRT 11 and RTX write them, and as TensorRT 10.
ENGINE_TYPES = {"Float": "fp32", "Half": "fp16", "BFloat16": "bf16", "Int8": "int8"} | {
    kind.upper(): kind for kind in ("fp32", "fp16", "bf16", "int8")
}

Layers = Mapping[str, str]  # name of an ONNX node -> "fp32", "fp16", "int8" …


@dataclass(frozen=True)
class BuiltEngine:
    """A serialized engine, and what its convolutions and matrix products compute in."""

    engine: bytes
    layers: Layers


def build_engine(
    library: Library, graph: Path, precision: str, capabilities: Sequence[str] = (), batch: int = MAX_BATCH
) -> BuiltEngine:
    """Build an engine of a graph.

    Args:
        library: the TensorRT that builds it.
        graph: an ONNX file typed for `precision`.
        precision: "fp16" or "int8".
        capabilities: of the GPUs to build for, where the library can; none named: the GPU that is there.
        batch: the largest; the engine takes 1 to `batch` frames, and is tuned for 1.

    Returns:
        The engine's bytes, and what its layers compute in.

    Raises:
        BackendError: naming the node that TensorRT cannot take, or the layers of the network or of the engine
            that compute in something else than what was asked for.
    """
    trt = library.import_module()
    listener: Any = make_listener(trt)
    builder = trt.Builder(listener)
    flags = [getattr(trt.NetworkDefinitionCreationFlag, name) for name in library.flavor.network_flags]
    network = builder.create_network(sum(1 << int(flag) for flag in flags))
    _parse(trt, network, listener, graph)
    layers = read_network_layers(trt, network)
    require_precision(layers, precision, graph.name)

    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # else an engine does not tell its types
    for name in library.flavor.builder_flags:
        config.set_flag(getattr(trt.BuilderFlag, name))
    if capabilities:
        config.num_compute_capabilities = len(capabilities)
        for index, capability in enumerate(capabilities):
            kind = getattr(trt.ComputeCapability, f"SM{capability.replace('.', '')}")
            config.set_compute_capability(kind, index)
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        if tensor.shape[0] == -1:
            profile, sides = builder.create_optimization_profile(), tuple(tensor.shape)[1:]
            profile.set_shape(tensor.name, (1, *sides), (1, *sides), (batch, *sides))
            config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise BackendError(f"{graph.name}: {library.flavor.module} cannot build it: {listener.error}")
    require_unchanged(layers, read_engine_layers(listener.description), graph.name)
    return BuiltEngine(bytes(engine), layers)


def make_listener(trt: Any) -> Any:
    """A logger that keeps the last error and the engine's description; the rest goes to `logging`."""

    class Listener(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.error, self.description = "it gave no reason", ""

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.error = msg
            elif msg.startswith("Layers:"):
                self.description = msg
            log.debug("%s", msg)

    return Listener()


def _parse(trt: Any, network: Any, listener: Any, graph: Path) -> None:
    parser = trt.OnnxParser(network, listener)
    if parser.parse_from_file(str(graph)):
        return
    if not parser.num_errors:
        raise BackendError(f"{graph.name}: TensorRT cannot read it: {listener.error}")
    error = parser.get_error(0)
    where = f"{error.node_operator()} {error.node_name()}".strip() or "the file"
    reason = " ".join(error.desc().split())
    raise BackendError(f"{graph.name}: TensorRT cannot take {where}: {reason}")


def read_network_layers(trt: Any, network: Any) -> Layers:
    """What each convolution and matrix product of a parsed network computes in.

    "int8" where Q/DQ pairs ask for it: all that it multiplies comes from DequantizeLinear of int8.
    """
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    makers = {layer.get_output(i).name: layer for layer in layers for i in range(layer.num_outputs)}
    found: dict[str, str] = {}
    for layer in layers:
        if layer.type.name not in COMPUTE_LAYERS:
            continue
        sources = [makers.get(layer.get_input(i).name) for i in range(min(layer.num_inputs, 2))]
        kinds = {s.get_input(0).dtype.name if s and s.type.name == "DEQUANTIZE" else None for s in sources}
        quantized = kinds == {"INT8"} and len(sources) == 2
        kind = "INT8" if quantized else layer.get_output(0).dtype.name
        found[layer.name] = NETWORK_TYPES.get(kind, kind)
    return found


def read_engine_layers(description: str) -> Layers:
    """The same of a built engine, out of the text that TensorRT describes it with.

    One line a layer, with a name and a type of its own making, the tensors with their types, and the ONNX
    nodes in it. Fused layers around a convolution name its node as well, so only those that multiply
    count. Read here: the text of TensorRT for RTX 1.7, and logs of TensorRT 10 that others published.
    """
    found: dict[str, str] = {}
    pattern = r"Name: (.*?), LayerType: (\S+), Inputs: \[(.*?)\], (?:Constants|Outputs): .*Metadata: (.*)"
    for name, kind, inputs, nodes in re.findall(pattern, description):
        fused = kind.endswith("fusion") and re.search("Conv|Corr|Gemm", name)
        multiplies = fused or re.search("conv|corr|gemm", kind, re.I)
        input_type = re.search(rf"Datatype: .*?\b({'|'.join(ENGINE_TYPES)})\b", inputs)
        if multiplies and input_type:
            for node in re.findall(r"\[ONNX Layer: ([^\]]*)\]", nodes):
                found[node] = ENGINE_TYPES[input_type[1]]
    return found


def require_precision(layers: Layers, precision: str, where: str) -> None:
    """Check that layers compute in nothing else than a precision allows, and some in it.

    Args:
        layers: what each computes in.
        precision: "fp16" or "int8".
        where: the graph's name, for the error.

    Raises:
        BackendError: naming the first layers that do not.
    """
    wrong = {name: kind for name, kind in layers.items() if kind not in ALLOWED_PRECISIONS[precision]}
    if wrong:
        raise BackendError(
            f"{where}: asked for {precision}, but {len(wrong)} of {len(layers)} convolutions compute in "
            f"something else: {_format_layers(wrong)}"
        )
    if precision not in layers.values():
        raise BackendError(f"{where}: asked for {precision}, but no convolution computes in it")


def require_unchanged(network: Layers, engine: Layers, where: str) -> None:
    """Check that the layers of an engine compute in what its network says.

    Args:
        network: what each layer of the network computes in.
        engine: the same of the engine; a layer that it does not show is warned of.
        where: the graph's name, for the error.

    Raises:
        BackendError: naming the first layers that do not.
    """
    wrong = {name: kind for name, kind in engine.items() if name in network and network[name] != kind}
    if wrong:
        asked = ", ".join(sorted({network[name] for name in wrong}))
        raise BackendError(
            f"{where}: asks for {asked} in {len(wrong)} of {len(network)} convolutions that the engine "
            f"computes in something else: {_format_layers(wrong)}"
        )
    if unseen := [name for name in network if name not in engine]:
        log.warning("%s: the engine does not show what it computes %s in", where, ", ".join(unseen[:3]))


def _format_layers(layers: Layers) -> str:
    listed = [f"{name} {kind}" for name, kind in list(layers.items())[:3]]
    return ", ".join(listed) + (" …" if len(layers) > 3 else "")
