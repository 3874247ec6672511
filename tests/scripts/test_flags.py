"""What the flags of a training run amount to; those that contradict each other or do nothing are refused."""

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator
from command_line import load_script

from zsl.cli import check_gamma, check_name, run_script, settle_config
from zsl.common.config import override
from zsl.dcrgan.classifiers import ClassifierConfig
from zsl.dcrgan.recipes import find_recipe
from zsl.dcrgan.variants import PLUS, VARIANTS
from zsl.experiments.methods import find_method

RECIPE = find_recipe("cub", form=PLUS).config
A_OTHERWISE = override(RECIPE, {**VARIANTS["A+"].settings, "gan.critic_sees": "attributes"})
CHANGED = override(RECIPE, {"gan.critic_sees": "attributes"})


def settle(name: str, config: Any = None, **given: Any) -> Any:
    nothing: dict[str, Any] = {"has_recipe": False, "precision": None, "selection": None}
    method = find_method(name, RECIPE)
    return settle_config(method, method.configured(method.config) if config is None else config, **nothing | given)


def test_flags_that_fit_make_the_configuration() -> None:
    assert settle("dcrgan+") == RECIPE
    assert settle("dcrgan+", CHANGED) == CHANGED
    assert settle("dcrgan+", precision="bf16") == replace(RECIPE, precision="bf16")
    assert settle("dcrgan+", replace(CHANGED, precision="bf16"), precision="bf16") == replace(CHANGED, precision="bf16")
    lean = find_method("f-CLSWGAN+", RECIPE)
    assert settle("f-CLSWGAN+").gan.critic_sees == "attributes"  # the variant's own value
    longer = override(lean.configured(RECIPE), {"gan.steps": 7})
    assert settle("f-CLSWGAN+", longer) == longer
    as_the_recipe = override(lean.configured(RECIPE), {"gan.critic_sees": RECIPE.gan.critic_sees})
    with pytest.raises(ValueError, match=r"critic-sees all: --method f-CLSWGAN\+ has attributes"):
        settle("f-CLSWGAN+", as_the_recipe)
    assert settle("f-CLSWGAN").gan.steps == 450  # where its own search starts, not the recipe's
    eszsl = find_method("eszsl", RECIPE).config
    assert settle("eszsl", selection=Path("x")) == eszsl
    assert settle("eszsl", replace(eszsl, lam=0.5)) == replace(eszsl, lam=0.5)  # `--config.lam 0.5`


@pytest.mark.parametrize(
    ("method", "config", "given", "message"),
    [
        ("dcrgan+", CHANGED, {"selection": Path("x")}, "leave --config.gan.critic-sees or --selection out"),
        ("dcrgan+", RECIPE, {"selection": Path("x"), "precision": "bf16"}, "leave --precision or --selection out"),
        ("dcrgan+", RECIPE, {"selection": Path("x"), "has_recipe": True}, "leave --recipe or --selection out"),
        (
            "eszsl",
            None,
            {"has_recipe": True, "precision": "bf16"},
            "--recipe, --precision: that is for DCR-GAN, and --method eszsl takes nothing of it",
        ),
        (
            "A+",
            A_OTHERWISE,
            {},
            "--config.gan.critic-sees attributes: --method A+ has features",
        ),
        (
            "dcrgan+",
            replace(RECIPE, precision="bf16"),
            {"precision": "no"},
            "--precision no and --config.precision bf16",
        ),
        (
            "eszsl",
            replace(find_method("eszsl", RECIPE).config, lam=0.5),
            {"selection": Path("x")},
            "leave --config.lam or --selection out",
        ),
    ],
)
def test_flags_that_contradict_each_other_or_do_nothing_are_refused(
    method: str, config: Any, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011  the message is looked at below
        settle(method, config, **given)
    assert message in str(refused.value)


def test_gamma_is_auto_or_a_finite_number() -> None:
    assert check_gamma("auto") == "auto"
    assert check_gamma(-1.5) == -1.5
    for infinite in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match=rf"--gamma {infinite}: a finite number is needed, or auto"):
            check_gamma(infinite)


def test_gamma_fits_a_score() -> None:
    with pytest.raises(ValueError, match="at most 1e\\+30 can be taken off a score"):
        check_gamma(1e40)


@pytest.mark.parametrize("name", ["/x", "../x", "a/../../x", "."])
def test_a_run_lies_below_the_folder_of_runs(name: str) -> None:
    with pytest.raises(ValueError, match="the name of a folder below --runs"):
        check_name(name)
    check_name("a/b")
    check_name(None)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--every", "5"), "--every 5 is for --protocol published"),
        (("--seeds", "0", "0"), "a seed that occurs twice"),
        (("--gamma", "1e40"), "at most 1e\\+30"),
        (("--method", "eszsl", "--protocol", "published"), "eszsl has none: leave --protocol out"),
    ],
)
def test_flags_that_a_run_refuses_are_refused_before_a_search(
    words: tuple[str, ...],
    message: str,
    tiny_features: Path,
    tmp_path: Path,
    accelerator: Accelerator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = load_script("train_dcrgan.py")
    monkeypatch.setattr(module, "make_accelerator", lambda precision: accelerator)
    monkeypatch.setattr(module, "search", None)  # a call would be an error
    given = ["--features", tiny_features, "--data", tiny_features.parents[2], "--runs", tmp_path / "runs"]
    monkeypatch.setattr(sys, "argv", ["train_dcrgan.py", *map(str, given), "--selection", "auto", *words])
    with pytest.raises(SystemExit, match=message):
        run_script(module.main, module.Args, find_config=module.find_config)


def test_fusion_weights_are_not_all_zero() -> None:
    with pytest.raises(ValueError, match="are all 0; give one above 0"):
        ClassifierConfig(weight_vs=0, weight_ss=0, weight_srs=0)
