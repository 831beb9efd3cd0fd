"""Checkpoints: what is written is read back, a resumed optimizer goes on as if never stopped, damage is named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sermodels.checkpoint import (
    load_into,
    load_optimizer,
    load_tensors,
    optimizer_tensors,
    prefixed,
    save_tensors,
    without_prefix,
)
from sermodels.errors import StorageError, WeightsError
from tests.sermodels.small_disk import fill, small_disk

HEADER: dict[str, Any] = {"labels": ["anger", "fear"], "epoch": 3, "config": {"rate": 1e-4, "size": None}, "ä": "ß"}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


def step(model: nn.Module, optimizer: torch.optim.Optimizer, number: int) -> None:
    generator = torch.Generator().manual_seed(number)
    loss = model(torch.randn(6, 4, generator=generator)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert tensor.dtype == second[name].dtype, name
        assert torch.equal(tensor, second[name]), name


def test_tensors_and_header_round_trip(tmp_path: Path) -> None:
    tensors = {
        "single": torch.randn(3, 4),
        "double": torch.randn(2, dtype=torch.float64),
        "half": torch.randn(2, 2).half(),
        "brain": torch.randn(2).bfloat16(),
        "whole": torch.tensor([1, -2], dtype=torch.int64),
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 3),
        "turned": torch.randn(3, 5).T,
        "flag": torch.tensor([True, False]),
    }
    save_tensors(tmp_path / "new" / "model.safetensors", tensors, HEADER)
    loaded, header = load_tensors(tmp_path / "new" / "model.safetensors")
    assert_same(loaded, tensors)
    assert header == HEADER


def test_a_network_round_trips(tmp_path: Path) -> None:
    trained = network()
    step(trained, torch.optim.SGD(trained.parameters(), lr=0.5), 1)
    save_tensors(tmp_path / "model.safetensors", trained.state_dict(), {})
    fresh = network()
    load_into(fresh, load_tensors(tmp_path / "model.safetensors")[0], tmp_path / "model.safetensors")
    assert_same(dict(fresh.state_dict()), dict(trained.state_dict()))


def test_shared_and_learning_tensors_are_written_as_plain_ones(tmp_path: Path) -> None:
    weight = nn.Parameter(torch.randn(3))
    save_tensors(tmp_path / "model.safetensors", {"a": weight, "b": weight, "part": weight[:2]}, {})
    loaded, _ = load_tensors(tmp_path / "model.safetensors")
    assert_same(loaded, {"a": weight.data, "b": weight.data, "part": weight.data[:2]})
    assert not any(tensor.requires_grad for tensor in loaded.values())


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(3.0), "b": torch.zeros(2)}
    save_tensors(tmp_path / "1", tensors, {"x": 1, "y": 2})
    save_tensors(tmp_path / "2", tensors, {"y": 2, "x": 1})
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_prefixes_are_put_on_and_taken_off() -> None:
    first, second = {"w": torch.ones(1), "inner.b": torch.zeros(1)}, {"w": torch.full((1,), 5.0)}
    both = prefixed("model", first) | prefixed("model2", second)
    assert set(both) == {"model.w", "model.inner.b", "model2.w"}
    assert_same(without_prefix("model", both), first)
    assert_same(without_prefix("model2", both), second)
    assert without_prefix("mod", both) == {}


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.05),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.05, weight_decay=0.1),
    "fused": lambda parameters: torch.optim.AdamW(parameters, lr=0.05, weight_decay=0.1, fused=True),
    "momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_resumed_optimizer_continues_identically(
    tmp_path: Path, make: Callable[[Any], torch.optim.Optimizer]
) -> None:
    straight = network()
    optimizer = make(straight.parameters())
    for number in range(6):
        step(straight, optimizer, number)

    before = network()
    optimizer = make(before.parameters())
    for number in range(3):
        step(before, optimizer, number)
    state = prefixed("model", before.state_dict()) | prefixed("optimizer", optimizer_tensors(optimizer))
    save_tensors(tmp_path / "state.safetensors", state, {})

    loaded, _ = load_tensors(tmp_path / "state.safetensors")
    resumed = network()
    optimizer = make(resumed.parameters())
    load_into(resumed, without_prefix("model", loaded), tmp_path / "state.safetensors")
    load_optimizer(optimizer, without_prefix("optimizer", loaded))
    for number in range(3, 6):
        step(resumed, optimizer, number)
    assert_same(dict(resumed.state_dict()), dict(straight.state_dict()))


def test_an_optimizers_state_lies_in_memory_as_the_parameters_do(tmp_path: Path) -> None:
    """A GPU's kernel for all parameters at once refuses any other layout, and a CPU's would mix up their cells."""
    weight = nn.Conv2d(3, 4, 3, bias=False).to(memory_format=torch.channels_last).weight
    optimizer = torch.optim.AdamW([weight])
    weight.square().sum().backward()
    optimizer.step()
    before = optimizer.state[weight]["exp_avg"]
    save_tensors(tmp_path / "state.safetensors", optimizer_tensors(optimizer), {})

    resumed = torch.optim.AdamW([weight])
    load_optimizer(resumed, load_tensors(tmp_path / "state.safetensors")[0])

    after = resumed.state[weight]["exp_avg"]
    assert torch.equal(after, before)
    assert after.stride() == weight.stride() != torch.empty_like(weight).contiguous().stride()


def test_without_its_state_an_optimizer_does_not_continue_identically() -> None:
    """The test above would see a state that is lost."""
    straight, forgetful = network(), network()
    first, second = (OPTIMIZERS["adam"](model.parameters()) for model in (straight, forgetful))
    for number in range(2):
        step(straight, first, number)
        step(forgetful, second, number)
        second = OPTIMIZERS["adam"](forgetful.parameters())
    assert not torch.equal(straight[0].weight, forgetful[0].weight)


def test_a_fresh_optimizer_has_no_state() -> None:
    optimizer = OPTIMIZERS["adam"](network().parameters())
    assert optimizer_tensors(optimizer) == {}
    load_optimizer(optimizer, {})
    assert optimizer.state_dict()["state"] == {}


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "last byte missing": lambda content: content[:-1],
    "a byte too many": lambda content: content + b"x",
    "huge header": lambda content: b"\xff" * 8 + content[8:],
    "broken header": lambda content: content[:8] + b"[" + content[9:],
    "zeros": lambda content: bytes(len(content)),
    "a zip": lambda content: b"PK\x03\x04" + content[4:],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_named(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "model.safetensors"
    save_tensors(path, network().state_dict(), HEADER)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(
        WeightsError, match=r"model\.safetensors: not a readable checkpoint .*; delete it and run again"
    ):
        load_tensors(path)


@pytest.mark.parametrize("metadata", [None, {"other": "x"}, {"header": "{"}])
def test_a_file_without_our_header_is_named(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors", metadata=metadata)
    with pytest.raises(WeightsError, match=r"model\.safetensors: not a readable checkpoint"):
        load_tensors(tmp_path / "model.safetensors")


def test_a_missing_file_or_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("none.safetensors", "folder"):
        with pytest.raises(WeightsError, match=f"{name}: not a readable checkpoint"):
            load_tensors(tmp_path / name)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("3.bias"),
        lambda state: state.update(extra=torch.zeros(1)),
        lambda state: state.update({"3.bias": torch.zeros(3)}),
    ],
    ids=["missing", "unexpected", "shape"],
)
def test_weights_that_do_not_fit_are_named(change: Callable[[dict[str, Tensor]], object]) -> None:
    state = dict(network().state_dict())
    change(state)
    with pytest.raises(WeightsError, match=r"some/model\.safetensors: does not fit the network"):
        load_into(network(), state, Path("some/model.safetensors"))


def test_a_full_disk_is_named_and_the_old_file_stays(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", kilobytes=128) as disk:
        path = disk / "model.safetensors"
        save_tensors(path, {"a": torch.zeros(10)}, {"epoch": 1})
        ballast = fill(disk, leave=8_192)
        with pytest.raises(StorageError, match=r"model\.safetensors: .*free some space"):
            save_tensors(path, {"a": torch.ones(10_000)}, {"epoch": 2})
        assert sorted(file.name for file in disk.iterdir()) == ["ballast", "model.safetensors"]
        assert load_tensors(path)[1] == {"epoch": 1}
        ballast.unlink()
        save_tensors(path, {"a": torch.ones(10_000)}, {"epoch": 2})
        assert load_tensors(path)[1] == {"epoch": 2}


def test_no_pickle_is_read(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "model.pt")
    with pytest.raises(WeightsError, match=r"model\.pt: not a readable checkpoint"):
        load_tensors(tmp_path / "model.pt")
