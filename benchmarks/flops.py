"""Operations of a computation: of torch's by its counter, of an ONNX graph by the shapes that a run shows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

Shapes = dict[str, tuple[int, ...]]


def torch_flops(work: Callable[[], object]) -> float:
    """Floating-point operations of the matrix products and convolutions in a call."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def onnx_flops(path: Path, given: dict[str, NDArray[Any]]) -> float:
    """The same of a graph on these inputs, without what is inside its loops."""
    model = onnx.load(path)
    nodes = [node for node in model.graph.node if node.op_type in ("Conv", "MatMul", "Gemm")]
    shapes: Shapes = {one.name: tuple(one.dims) for one in model.graph.initializer}
    wanted = list(dict.fromkeys(name for node in nodes for name in [*node.input[:2], node.output[0]]))
    wanted = [name for name in wanted if name not in shapes]
    known = {one.name for one in (*model.graph.output, *model.graph.input)}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted if name not in known)
    session = _session(model)
    shapes |= {name: value.shape for name, value in given.items()}
    asked = [name for name in wanted if name not in shapes]
    shapes |= {name: value.shape for name, value in zip(asked, session.run(asked, given), strict=True)}
    return float(sum(_operations(node, shapes) for node in nodes))


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """A session that leaves every node where it is, so that each can be asked for its result."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _operations(node: onnx.NodeProto, shapes: Shapes) -> int:
    """A multiplication and an addition for each weight that goes into each cell of the result."""
    cells = 1
    for size in shapes[node.output[0]]:
        cells *= size
    first, second = (shapes[name] for name in node.input[:2])
    if node.op_type == "Conv":
        depth = 1
        for size in second[1:]:
            depth *= size
        return 2 * cells * depth
    transposed = any(one.name == "transA" and one.i for one in node.attribute)
    return 2 * cells * first[0 if transposed else -1]
