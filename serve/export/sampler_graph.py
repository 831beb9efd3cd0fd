"""unet_step.onnx and sampler.onnx: one guided step of DPM-Solver++(2M), and the loop over all steps around it."""

from pathlib import Path

import onnx
import torch
from jaxtyping import Float
from onnx import TensorProto, helper
from torch import Tensor, nn
from torch.export import Dim

from sermodels.diffusion.model import DiffusionModel
from sermodels.diffusion.schedule import training_sigmas
from serve.bundle import OPSET
from serve.export.graph import export_module, require_symbolic, save_graph

STEP_OUTPUTS = ("x_next", "denoised", "log_mel")
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL

LogMelBatch = Float[Tensor, "batch mel frame"]


class SamplingStep(nn.Module):
    """One step from `sigmas[1]` to `sigmas[2]`, as `sermodels.diffusion.samplers.dpmpp_2m` takes it.

    In the first step `sigmas[0]` equals `sigmas[1]` and `previous` is not used.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: DiffusionModel) -> None:
        """The model's denoiser, and what its log-mels need to be in dB."""
        super().__init__()
        self.denoiser, self.top_db = model.denoiser, model.top_db
        self.rising = training_sigmas(model.config).tolist()
        self.register_buffer("mean", model.mean[:, None].clone())
        self.register_buffer("std", model.std[:, None].clone())

    def forward(
        self,
        x: LogMelBatch,
        previous: LogMelBatch,
        sigmas: Float[Tensor, "3"],
        condition: Float[Tensor, "batch width"],
        guidance_scale: Float[Tensor, ""],
    ) -> tuple[LogMelBatch, LogMelBatch, LogMelBatch]:
        """The next x, the prediction of x0, and that prediction as a log-mel in dB."""
        before, now, after = sigmas[0], sigmas[1], sigmas[2]
        denoised = self._guided(x, now, condition, guidance_scale)
        second_order = (before > now) & (after > 0)
        safe_before = torch.where(second_order, before, 2.0 * now)
        safe_after = torch.where(second_order, after, 0.5 * now)
        ratio = torch.log(now / safe_after) / torch.log(safe_before / now)
        estimate = denoised + torch.where(second_order, 0.5 * ratio, 0.0) * (denoised - previous)
        x_next = estimate + after / now * (x - estimate)
        level_db = denoised * self.std + self.mean
        return x_next, denoised, torch.maximum(level_db, level_db.amax(dim=(1, 2), keepdim=True) - self.top_db)

    def _guided(
        self,
        x: LogMelBatch,
        sigma: Float[Tensor, ""],
        condition: Float[Tensor, "batch width"],
        scale: Float[Tensor, ""],
    ) -> LogMelBatch:
        """Classifier-free guidance, both passes as one batch; sliced by size, so that the batch stays free."""
        size = x.shape[0]
        null = self.denoiser.null_condition.expand(size, -1)
        both = self.denoiser(torch.cat([x, x]), sigma.expand(2 * size), torch.cat([condition, null]))
        mixed: Tensor = both[size:] + scale * (both[:size] - both[size:])
        return mixed


def export_sampler(module: SamplingStep, folder: Path, *, frames: int, step_file: str, sampler_file: str) -> None:
    """Write both graphs into `folder`. Raises BundleError and StorageError."""
    step = _export_step(module, frames)
    save_graph(step, folder / step_file)
    mels, width = len(module.mean), len(module.denoiser.null_condition)
    save_graph(_loop(step, module.rising, mels=mels, frames=frames, width=width), folder / sampler_file)


def _export_step(module: SamplingStep, frames: int) -> onnx.ModelProto:
    """The traced step with a free batch."""
    mels, width = len(module.mean), len(module.denoiser.null_condition)
    example = {
        "x": torch.randn(3, mels, frames),
        "previous": torch.randn(3, mels, frames),
        "sigmas": torch.tensor([3.0, 2.0, 1.0]),
        "condition": torch.randn(3, width),
        "guidance_scale": torch.tensor(1.5),
    }
    batch = Dim("batch", min=1, max=2**16)
    free = {name: {0: batch} for name in ("x", "previous", "condition")}
    model = export_module(module.eval(), example, free, STEP_OUTPUTS)
    require_symbolic(model, dict.fromkeys(free, (0,)))
    return model


def _loop(step: onnx.ModelProto, rising: list[float], *, mels: int, frames: int, width: int) -> onnx.ModelProto:
    """A Loop around the step; the weights are inside its body, where onnxruntime lays them out fast."""
    picture: list[str | int] = ["batch", mels, frames]
    nodes, constants = _schedule_nodes(rising)
    nodes += [
        helper.make_node("Gather", ["falling", "zero"], ["sigma_max"]),
        helper.make_node("Mul", ["noise", "sigma_max"], ["x_first"]),
        helper.make_node("Loop", ["steps", "", "x_first", "noise", "noise"], ["x_last", "x0", "log_mel"]),
    ]
    nodes[-1].attribute.append(helper.make_attribute("body", _body(step, picture)))
    graph = helper.make_graph(
        nodes,
        "sampler",
        [
            helper.make_tensor_value_info("noise", FLOAT, picture),
            helper.make_tensor_value_info("condition", FLOAT, ["batch", width]),
            helper.make_tensor_value_info("steps", INT64, []),
            helper.make_tensor_value_info("guidance_scale", FLOAT, []),
        ],
        [helper.make_tensor_value_info("log_mel", FLOAT, picture)],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=step.ir_version)


def _body(step: onnx.ModelProto, picture: list[str | int]) -> onnx.GraphProto:
    """One iteration: three neighbouring sigmas are looked up, then the step runs."""
    names = {"x": "x_in", "previous": "previous_in", "sigmas": "sigmas_now"}
    looked_up = [
        helper.make_node("Sub", ["iteration", "one"], ["iteration_before"]),
        helper.make_node("Max", ["iteration_before", "zero"], ["place_before"]),
        helper.make_node("Add", ["iteration", "one"], ["place_after"]),
        *(
            helper.make_node("Unsqueeze", [place, "first_axis"], [f"{place}_row"])
            for place in ("place_before", "iteration", "place_after")
        ),
        helper.make_node("Concat", ["place_before_row", "iteration_row", "place_after_row"], ["places"], axis=0),
        helper.make_node("Gather", ["falling", "places"], ["sigmas_now"]),
        helper.make_node("Identity", ["going_in"], ["going_out"]),
    ]
    inner = []
    for node in step.graph.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [names.get(name, name) for name in node.input]
        inner.append(copy)
    inputs = [("iteration", INT64, []), ("going_in", BOOL, []), ("x_in", FLOAT, picture)]
    inputs += [("previous_in", FLOAT, picture), ("log_mel_in", FLOAT, picture)]
    outputs = [("going_out", BOOL, []), *((name, FLOAT, picture) for name in STEP_OUTPUTS)]
    body_outputs = [helper.make_tensor_value_info(*entry) for entry in outputs]
    rename = {"log_mel": "log_mel_now"}  # the outer graph has an output of that name
    for node in inner:
        node.output[:] = [rename.get(name, name) for name in node.output]
        node.input[:] = [rename.get(name, name) for name in node.input]
    body_outputs[-1].name = rename["log_mel"]
    return helper.make_graph(
        [*looked_up, *inner],
        "sampling_step",
        [helper.make_tensor_value_info(*entry) for entry in inputs],
        body_outputs,
        [*step.graph.initializer],
    )


def _schedule_nodes(rising: list[float]) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """`falling` (steps + 1,): `sermodels.diffusion.schedule.sampling_sigmas` of the number of steps.

    The places are those of torch.linspace(last, 0, steps).round(): computed from both ends towards the middle.
    """
    last = len(rising) - 1
    constants = [
        helper.make_tensor("zero", INT64, [], [0]),
        helper.make_tensor("one", INT64, [], [1]),
        helper.make_tensor("two", INT64, [], [2]),
        helper.make_tensor("first_axis", INT64, [1], [0]),
        helper.make_tensor("rising", FLOAT, [last + 1], rising),
        helper.make_tensor("last", FLOAT, [], [float(last)]),
        helper.make_tensor("final_zero", FLOAT, [1], [0.0]),
    ]
    node = helper.make_node
    nodes = [
        node("Range", ["zero", "steps", "one"], ["count"]),
        node("Sub", ["steps", "one"], ["gaps"]),
        node("Max", ["gaps", "one"], ["gaps_safe"]),
        node("Cast", ["gaps_safe"], ["gaps_float"], to=FLOAT),
        node("Div", ["last", "gaps_float"], ["stride"]),
        node("Cast", ["count"], ["count_float"], to=FLOAT),
        node("Mul", ["stride", "count_float"], ["fallen"]),
        node("Sub", ["last", "fallen"], ["from_above"]),
        node("Sub", ["gaps", "count"], ["remaining"]),
        node("Cast", ["remaining"], ["remaining_float"], to=FLOAT),
        node("Mul", ["stride", "remaining_float"], ["from_below"]),
        node("Div", ["steps", "two"], ["half"]),
        node("Less", ["count", "half"], ["is_first_half"]),
        node("Equal", ["steps", "one"], ["is_single"]),
        node("Or", ["is_first_half", "is_single"], ["is_above"]),
        node("Where", ["is_above", "from_above", "from_below"], ["place_float"]),
        node("Round", ["place_float"], ["place_round"]),
        node("Cast", ["place_round"], ["place"], to=INT64),
        node("Gather", ["rising", "place"], ["visited"]),
        node("Concat", ["visited", "final_zero"], ["falling"], axis=0),
    ]
    return nodes, constants
