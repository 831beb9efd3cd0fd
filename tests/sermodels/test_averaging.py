"""Averaged weights: the formula with its warm-up, whole-number state, and weights put back after use."""

import pytest
import torch
from torch import nn

from sermodels.averaging import WeightAverage


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def test_the_average_is_exponential_with_a_warm_up() -> None:
    model = network()
    average = WeightAverage(model)
    expected = state(model)
    for step, decay in enumerate([0.1, 2 / 11, 3 / 12, 0.3, 0.3]):
        for parameter in model.parameters():
            parameter.data += 1.0
        average.update(0.3, step)
        now = model.state_dict()
        expected = {name: decay * kept + (1.0 - decay) * now[name] for name, kept in expected.items()}

    for name, _ in model.named_parameters():
        torch.testing.assert_close(average.tensors[name], expected[name])


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_counters_follow_and_a_decay_of_0_follows_everything(decay: float) -> None:
    model = network()
    average = WeightAverage(model)
    model(torch.randn(5, 3))
    for parameter in model.parameters():
        parameter.data += torch.randn_like(parameter)
    average.update(decay, 100)

    now = model.state_dict()
    assert average.tensors["1.num_batches_tracked"] == now["1.num_batches_tracked"] == 1
    assert all(torch.equal(average.tensors[name], now[name]) for name in now) == (decay == 0.0)


def test_the_network_has_its_own_weights_back_afterwards() -> None:
    model = network()
    average = WeightAverage(model)
    for parameter in model.parameters():
        parameter.data += 1.0
    trained = state(model)

    with average.applied():
        assert torch.equal(model.state_dict()["0.weight"], average.tensors["0.weight"])
        assert not torch.equal(model.state_dict()["0.weight"], trained["0.weight"])

    assert all(torch.equal(tensor, trained[name]) for name, tensor in model.state_dict().items())


def test_what_was_saved_is_continued() -> None:
    model = network()
    average, again = WeightAverage(model), WeightAverage(model)
    model[0].weight.data += 1.0
    average.update(0.5, 10)

    again.restore(average.tensors)

    assert torch.equal(again.tensors["0.weight"], average.tensors["0.weight"])
