"""scripts/table.py on a tiny benchmark: the table, the ranking and its drawing."""

from __future__ import annotations

from pathlib import Path

from command_line import run

from zsl.baselines.registry import BASELINES
from zsl.dcrgan.recipes import find_recipe
from zsl.dcrgan.variants import VARIANTS
from zsl.experiments.methods import find_method, ungrouped
from zsl.experiments.table import budget_of
from zsl.generative.registry import GENERATIVE
from zsl.report.published_numbers import published_harmonic


def test_the_script_prints_a_table_and_a_ranking(tiny_shapes: Path, tiny_features: Path, tmp_path: Path) -> None:
    done = run(
        "table.py", "--data", tiny_shapes, "--features", tiny_features, "--runs", tmp_path, "--methods", "eszsl", "sae",
        "--seeds", "0",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    table, ranking = (tmp_path / "shapes-table/table.md").read_text().split("Ranking by AUSUC")
    assert "| eszsl |" in table
    assert {"eszsl", "sae"} <= {cell.strip() for line in ranking.splitlines() for cell in line.split("|")}
    assert (tmp_path / "shapes-table/ranking.svg").is_file()


def test_table2_names_every_method_in_the_form_of_its_paper_once() -> None:
    methods = ungrouped(["table2"])
    assert len(set(methods)) == len(methods)
    assert {"ale", "exem", "CADA-VAE", "LsrGAN", "f-CLSWGAN", "dcrgan"} <= set(methods)
    assert not any(name.endswith("+") for name in methods)
    assert ungrouped(["A", "eszsl"]) == ("A", "eszsl")


def test_printed_numbers_are_found_by_the_names_of_methods() -> None:
    names = ["A", "dcrgan", "C-5", "ale", "eszsl", "of-mine"]
    assert published_harmonic("cub", names) == {"A": 38.2, "dcrgan": 60.8, "C-5": 60.8, "ale": 34.4, "eszsl": 21.0}
    assert published_harmonic("shapes", names) == {}


def test_a_budget_holds_for_every_method_whose_training_is_long() -> None:
    budgets = {
        name: budget_of(find_method(name, find_recipe("cub").config), 2)
        for name in (*VARIANTS, *GENERATIVE, *BASELINES)
    }
    quick = BASELINES.keys() - {"crnet", "sse"}
    assert {budget for name, budget in budgets.items() if name not in quick} == {2}
    assert {budgets[name] for name in quick} == {None}


def test_without_a_budget_a_variant_has_its_recipe_alone() -> None:
    assert budget_of(find_method("C-5", find_recipe("cub").config), None) == 0
    assert budget_of(GENERATIVE["CADA-VAE"], None) == GENERATIVE["CADA-VAE"].budget
