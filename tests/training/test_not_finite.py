"""What is not finite ends a run in words, whichever stage meets it first, and is never scored."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_configs import ALL_STAGES
from toy import toy_splits

from zsl.baselines.registry import BASELINES
from zsl.common.config import override
from zsl.dcrgan.classifiers import train_classifiers
from zsl.dcrgan.config import DCRGANConfig
from zsl.dcrgan.dcrgan import train_dcrgan, train_synthesizer
from zsl.dcrgan.gan import train_gan
from zsl.dcrgan.metric import train_metric
from zsl.dcrgan.regressors import train_regressors
from zsl.dcrgan.srn import train_srn
from zsl.experiments.methods import find_method
from zsl.features.split import TrainSplit
from zsl.training.log import Watch, silent
from zsl.training.stage import stage

HUGE = 3e38  # a learning rate near the largest float32: a step or two, and nothing is finite any more


def stages(train: TrainSplit, config: DCRGANConfig) -> dict[str, Callable[[TrainSplit], Any]]:
    """Each stage on a split of its own, behind sound stages before it."""
    made = train_synthesizer(train, config, seed=0)
    representations = made.representations
    return {
        "train_metric": lambda split: train_metric(split, config.metric, seed=0),
        "train_srn": lambda split: train_srn(split, representations[split.seen], config.srn, seed=0),
        "train_regressors": lambda split: train_regressors(split, representations, config.regressors, seed=0),
        "train_gan": lambda split: train_gan(split, representations, made.regressors, config.gan, seed=0),
        "train_classifiers": lambda split: train_classifiers(
            split, made.generator, made.condition, made.regressors, config.classifiers, seed=0
        ),
    }


@pytest.mark.parametrize("what", ["features", "attributes"])
@pytest.mark.parametrize("name", [*stages(toy_splits()[0], ALL_STAGES), *BASELINES])
def test_a_stage_refuses_data_that_are_not_finite_and_says_where(name: str, what: str) -> None:
    train, _ = toy_splits()
    values = getattr(train, what).clone()
    values[5, 3] = math.nan
    split = replace(train, **{what: values})
    method = find_method(name, ALL_STAGES) if name in BASELINES else None
    run = stages(train, ALL_STAGES)[name] if method is None else lambda s: method.train(s, method.config, seed=0)
    where = f"features of row {int(train.rows[5])}" if what == "features" else "attributes of class class 5"
    with pytest.raises(FloatingPointError, match=f": the {where} are not finite"):
        run(split)


INFINITE = [
    ({"metric.lr": HUGE}, "metric stage, step 1: 'triplet'"),
    ({"metric.lr": HUGE, "metric.mining": "hard"}, "metric stage, step 1: 'triplet'"),
    ({"srn.lr": HUGE}, "SRN stage, step 1: 'representation'"),
    ({"regressors.lr": HUGE}, "regressors stage, step 1: 'attributes'"),
    ({"gan.lr_critic": HUGE}, "DCR-GAN stage, step 0: 'critic loss'"),  # in the second of its updates
    ({"gan.lr_generator": HUGE}, "DCR-GAN stage, step 1: 'critic loss'"),
    ({"classifiers.fit": "softmax", "classifiers.lr_vs": HUGE}, "VS of ZSL stage, step 0: 'cross entropy'"),
]


@pytest.mark.parametrize(("overrides", "message"), INFINITE)
def test_a_learning_rate_without_bound_is_reported_with_its_first_bad_step_and_term(
    overrides: dict[str, Any], message: str
) -> None:
    """Each stage has fewer steps than pass between two readings, so that the last one has to be read."""
    sound = {"regressors.pretrain_epochs": 2, "classifiers.fit": "discriminant", "gan.classification": "none"}
    config = override(ALL_STAGES, sound | overrides)
    with pytest.raises(FloatingPointError, match=message):
        train_dcrgan(toy_splits()[0], config, seed=0)


@pytest.mark.parametrize("name", ["devise", "ale", "sje"])
def test_a_ranking_without_bound_is_reported(name: str) -> None:
    method = find_method(name, ALL_STAGES)
    with pytest.raises(FloatingPointError, match=r"stage, step 1: 'loss' is not finite"):
        method.train(toy_splits()[0], replace(method.config, lr=HUGE, steps=10), seed=0)


def test_what_breaks_in_the_last_step_is_found_in_the_result() -> None:
    config = override(ALL_STAGES, {"gan.lr_generator": HUGE, "gan.steps": 1, "classifiers.fit": "discriminant"})
    with pytest.raises(FloatingPointError, match=r"train_gan: 'layers\.0\.weight' of its result is not finite"):
        train_dcrgan(toy_splits()[0], config, seed=0)


def test_a_closed_form_that_is_not_finite_is_refused() -> None:
    @stage
    def train_divided(train: TrainSplit) -> torch.nn.Module:
        made = torch.nn.Linear(1, 1)
        made.weight.data.div_(0)
        return made

    with pytest.raises(FloatingPointError, match="train_divided: 'weight' of its result"):
        train_divided(toy_splits()[0], seed=0)


def watched(steps: int, every: int) -> Watch:
    return Watch(silent, "GAN", steps=steps, every=every, device=torch.device("cpu"))


def test_the_first_bad_value_is_named_however_late_it_is_read_and_through_a_kill() -> None:
    first, fine, bad = watched(10, 100), torch.tensor(1.0), torch.tensor(math.inf)
    for step in range(6):
        first(step, {"one": fine, "two": bad if step in (3, 5) else fine})
    other = watched(10, 100)
    other.load_state_dict(first.state_dict())
    for step in range(6, 9):
        other(step, {"one": bad, "two": bad})
    with pytest.raises(FloatingPointError, match=r"GAN stage, step 3: 'two' is not finite"):
        other(9, {"one": fine, "two": fine})


def test_values_are_read_from_the_device_only_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []

    def counted(name: str) -> Callable[..., Any]:
        plain = getattr(torch.Tensor, name)

        def read(tensor: torch.Tensor, *args: Any) -> Any:
            reads.append(name)
            return plain(tensor, *args)

        return read

    for name in ("__int__", "__float__", "__bool__", "item", "tolist"):
        monkeypatch.setattr(torch.Tensor, name, counted(name))
    watch, counts = watched(50, 20), []
    for step in range(50):
        watch(step, {"one": torch.tensor(1.0, requires_grad=True)})
        counts.append(len(reads))
    changed = [step for step in range(50) if counts[step] > (counts[step - 1] if step else 0)]
    assert changed == [0, 20, 40, 49]
