"""Griffin-Lim as one graph: its beginning, one step and its end are traced, and the step is repeated in ONNX.

Traced as a whole, 32 steps take the exporter a minute. An ONNX Loop would need the host at each step on a GPU.
"""

from collections.abc import Mapping, Sequence

import onnx
import torch
from jaxtyping import Float
from onnx import helper
from torch import Tensor, nn
from torch.export import Dim

from sermodels.fourier import Gain, Spectrum
from sermodels.griffin_lim import GriffinLim, Magnitude
from serve.bundle import OPSET
from serve.export.graph import export_module, require_symbolic


class _Beginning(nn.Module):
    """`GriffinLim.begin`, and the zeros that the first step takes."""

    def __init__(self, vocoder: GriffinLim) -> None:
        super().__init__()
        self.vocoder = vocoder

    def forward(self, log_mel: Float[Tensor, "batch mel frame"]) -> tuple[Spectrum, Spectrum, Magnitude, Gain]:
        spectrum, magnitude, gain = self.vocoder.begin(log_mel)
        return spectrum, torch.zeros_like(spectrum), magnitude, gain


class _Step(nn.Module):
    """`GriffinLim.step`."""

    def __init__(self, vocoder: GriffinLim) -> None:
        super().__init__()
        self.vocoder = vocoder

    def forward(
        self, spectrum: Spectrum, rebuilt: Spectrum, magnitude: Magnitude, gain: Gain
    ) -> tuple[Spectrum, Spectrum]:
        return self.vocoder.step(spectrum, rebuilt, magnitude, gain)


class _End(nn.Module):
    """`GriffinLim.end`."""

    def __init__(self, vocoder: GriffinLim) -> None:
        super().__init__()
        self.vocoder = vocoder

    def forward(self, spectrum: Spectrum, gain: Gain) -> Float[Tensor, "batch sample"]:
        return self.vocoder.end(spectrum, gain)


class _Joined:
    """Graphs put one after the other, under names of their own."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def add(self, model: onnx.ModelProto, inputs: Mapping[str, str], *, part: str, number: int = 0) -> list[str]:
        """Append a graph, fed with `inputs`; the constants of one part are there once. Returns its outputs' names."""
        names = {"": "", **inputs}
        for constant in model.graph.initializer:
            names[constant.name] = f"{part}/{constant.name}"
            if names[constant.name] not in self.constants:
                copy = self.constants[names[constant.name]] = onnx.TensorProto()
                copy.CopyFrom(constant)
                copy.name = names[constant.name]
        for node in model.graph.node:
            names |= {name: f"{part}/{number}/{name}" for name in node.output if name}
            copied = onnx.NodeProto()
            copied.CopyFrom(node)
            copied.name = f"{part}/{number}/{node.name}"
            copied.input[:] = [names[name] for name in node.input]
            copied.output[:] = [names[name] for name in node.output]
            self.nodes.append(copied)
        return [names[value.name] for value in model.graph.output]


def griffin_lim_model(vocoder: GriffinLim, n_mels: int, *, input_name: str, output_name: str) -> onnx.ModelProto:
    """The vocoder as an ONNX model with symbolic `batch` and `frame`. Raises BundleError."""
    beginning, step, end = _parts(vocoder, n_mels, input_name=input_name, output_name=output_name)
    joined = _Joined()
    spectrum, rebuilt, magnitude, gain = joined.add(beginning, {input_name: input_name}, part="beginning")
    for number in range(vocoder.iterations):
        given = {"spectrum": spectrum, "rebuilt": rebuilt, "magnitude": magnitude, "gain": gain}
        spectrum, rebuilt = joined.add(step, given, part="step", number=number)
    (waveform,) = joined.add(end, {"spectrum": spectrum, "gain": gain}, part="end")
    joined.nodes.append(helper.make_node("Identity", [waveform], [output_name]))
    graph = helper.make_graph(
        joined.nodes, "griffin_lim", beginning.graph.input, end.graph.output, [*joined.constants.values()]
    )
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(graph, opset_imports=[opset], ir_version=beginning.ir_version)


def _parts(vocoder: GriffinLim, n_mels: int, *, input_name: str, output_name: str) -> Sequence[onnx.ModelProto]:
    """The three traced graphs."""
    batch, frame = Dim("batch", min=1, max=2**20), Dim("frame", min=1, max=2**20)
    log_mel = -40.0 + 10.0 * torch.randn(2, n_mels, 40)
    with torch.no_grad():
        spectrum, magnitude, gain = vocoder.begin(log_mel)
    state = {"spectrum": spectrum, "rebuilt": spectrum.clone(), "magnitude": magnitude, "gain": gain}
    free = {name: {1: batch, 2: frame} for name in ("spectrum", "rebuilt", "magnitude")}
    shapes = {**free, "gain": {1: frame + vocoder.transform.spare}}
    ends = {name: state[name] for name in ("spectrum", "gain")}
    beginning = export_module(_Beginning(vocoder), {input_name: log_mel}, {input_name: {0: batch, 2: frame}}, [*state])
    step = export_module(_Step(vocoder), state, shapes, ("next", "now"))
    end = export_module(_End(vocoder), ends, {name: shapes[name] for name in ends}, (output_name,))
    require_symbolic(beginning, {input_name: (0, 2)})
    for model, inputs in ((step, ("spectrum", "rebuilt", "magnitude")), (end, ("spectrum",))):
        require_symbolic(model, {**dict.fromkeys(inputs, (1, 2)), "gain": (1,)})
    return beginning, step, end
