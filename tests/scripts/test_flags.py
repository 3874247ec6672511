"""What the flags of a training run amount to; those that contradict each other or do nothing are refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from zsl.cli import settle_config, starting_config
from zsl.common.config import override
from zsl.dcrgan.config import DCRGANConfig
from zsl.dcrgan.recipes import find_recipe
from zsl.dcrgan.variants import VARIANTS
from zsl.experiments.methods import find_method

RECIPE = find_recipe("cub")
A_OTHERWISE = override(RECIPE, {**VARIANTS["A"], "gan.critic_sees": "attributes"})
WITH_A_FLAG = override(DCRGANConfig(), {"gan.critic_sees": "attributes"})
CHANGED = override(RECIPE, {"gan.critic_sees": "attributes"})


def settle(name: str, config: DCRGANConfig | None = None, **given: Any) -> Any:
    nothing: dict[str, Any] = {"has_recipe": False, "precision": None, "selection": None}
    method = find_method(name, RECIPE)
    return settle_config(method, config or starting_config(method), **nothing | given)


def test_flags_that_fit_make_the_configuration() -> None:
    assert settle("dcrgan") == RECIPE
    assert settle("dcrgan", CHANGED) == CHANGED
    assert settle("dcrgan", precision="bf16") == replace(RECIPE, precision="bf16")
    assert settle("dcrgan", replace(CHANGED, precision="bf16"), precision="bf16") == replace(CHANGED, precision="bf16")
    lean = find_method("f-CLSWGAN+", RECIPE)
    assert settle("f-CLSWGAN+").gan.critic_sees == "attributes"  # the variant's own value
    longer = override(lean.configured(RECIPE), {"gan.steps": 7})
    assert settle("f-CLSWGAN+", longer) == longer
    as_the_recipe = override(lean.configured(RECIPE), {"gan.critic_sees": RECIPE.gan.critic_sees})
    with pytest.raises(ValueError, match=r"critic-sees all: --method f-CLSWGAN\+ has attributes"):
        settle("f-CLSWGAN+", as_the_recipe)
    assert settle("f-CLSWGAN").gan.steps == 450  # where its own search starts, not the recipe's
    assert settle("eszsl", selection=Path("x")) == find_method("eszsl", RECIPE).config


@pytest.mark.parametrize(
    ("method", "config", "given", "message"),
    [
        ("dcrgan", CHANGED, {"selection": Path("x")}, "leave --config.gan.critic-sees or --selection out"),
        ("dcrgan", RECIPE, {"selection": Path("x"), "precision": "bf16"}, "leave --precision or --selection out"),
        ("dcrgan", RECIPE, {"selection": Path("x"), "has_recipe": True}, "leave --recipe or --selection out"),
        (
            "eszsl",
            override(DCRGANConfig(), {"gan.critic_sees": "attributes"}),
            {"has_recipe": True},
            "--recipe, --config.gan.critic-sees: that is for DCR-GAN",
        ),
        (
            "A",
            A_OTHERWISE,
            {},
            "--config.gan.critic-sees attributes: --method A has features",
        ),
        (
            "dcrgan",
            replace(RECIPE, precision="bf16"),
            {"precision": "no"},
            "--precision no and --config.precision bf16",
        ),
    ],
)
def test_flags_that_contradict_each_other_or_do_nothing_are_refused(
    method: str, config: DCRGANConfig, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011  the message is looked at below
        settle(method, config, **given)
    assert message in str(refused.value)
