"""The loop that minimises a sum of losses: it is PyTorch's plain loop, and a kill changes nothing."""

from pathlib import Path

import pytest
import torch
from killed_trainings import train_through_kills
from torch import nn

from zsl.training.journal import Journal
from zsl.training.log import Log, silent
from zsl.training.loop import Terms, descend, minimise

STEPS = 7


def start() -> tuple[nn.Linear, torch.optim.Adam]:
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    return network, torch.optim.Adam(network.parameters(), lr=0.1)


def batch() -> torch.Tensor:
    """A draw from torch's global generator, as a stage draws its batches."""
    return torch.randn(4, 3)


def losses(network: nn.Linear, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    outputs = network(inputs)
    return {"square": outputs.square().mean(), "sum": 0.1 * outputs.sum()}


def test_each_step_is_one_of_the_optimizer_on_the_sum_of_the_losses() -> None:
    network, optimizer = start()
    for _ in range(STEPS):
        optimizer.zero_grad()
        sum(losses(network, batch()).values(), torch.zeros(())).backward()
        optimizer.step()
    other, of_other = start()
    minimise("stage", STEPS, other, of_other, lambda _: losses(other, batch()), silent, every=3)
    assert torch.equal(network.weight, other.weight)
    assert torch.equal(network.bias, other.bias)


def test_an_optimizer_that_the_losses_step_themselves_goes_through_kills_too(tmp_path: Path) -> None:
    def train(log: Log) -> nn.Module:
        network, optimizer = start()
        opponent = nn.Linear(2, 1)
        of_opponent = torch.optim.Adam(opponent.parameters(), lr=0.1)

        def terms(_: int) -> Terms:
            inputs = batch()
            loss = opponent(network(inputs).detach()).square().mean()
            descend(of_opponent, loss)
            return {"opponent": loss.detach()} | losses(network, inputs)

        both = nn.ModuleList([network, opponent])
        minimise("stage", STEPS, both, optimizer, terms, log, every=1, others={"opponent": of_opponent})
        return both

    whole = Journal(tmp_path / "whole" / "metrics.jsonl", run="r", seconds=1e9)
    expected = train(whole).state_dict()
    path = tmp_path / "killed" / "metrics.jsonl"
    made, kills = train_through_kills(train, path, most=2)
    assert kills >= 2
    assert all(torch.equal(expected[name], tensor) for name, tensor in made.state_dict().items())
    assert path.read_text() == whole.path.read_text()


def test_a_loss_that_is_not_finite_is_named() -> None:
    network, optimizer = start()
    with pytest.raises(FloatingPointError, match="stage stage, step 2: 'b' is not finite"):
        minimise(
            "stage", STEPS, network, optimizer, every=1, log=silent,
            terms=lambda step: {"a": network.bias.sum(), "b": network.bias.sum() / (0.0 if step == 2 else 1.0)},
        )  # fmt: skip
