"""Prompts for the text tower of a CLIP or SigLIP model: templates with the readable names of classes."""

from __future__ import annotations

from collections.abc import Sequence

SLOT = "{}"  # where the name stands in a template
TEMPLATES = {"cub": ("a photo of a {}, a type of bird.",)}  # usual for CUB; one template for all others
USUAL = ("a photo of a {}.",)  # Radford et al. 2021
SIGLIP = ("This is a photo of {}.",)  # Zhai et al. 2023, in lower case


def templates_of(benchmark: str, model: str) -> tuple[str, ...]:
    """The usual templates for a benchmark and a model of open_clip."""
    return SIGLIP if is_siglip(model) else TEMPLATES.get(benchmark, USUAL)


def is_siglip(model: str) -> bool:
    """Whether a model's texts are in lower case."""
    return "siglip" in model.lower()


def make_prompts(names: Sequence[str], templates: Sequence[str], *, lower: bool = False) -> list[list[str]]:
    """Put the names into the templates: a list for each template, in the order of the names.

    Raises:
        ValueError: there is no template, or one has not exactly one place for the name.
    """
    wrong = [template for template in templates if template.count(SLOT) != 1]
    if wrong or not templates:
        raise ValueError(
            f"--templates {' '.join(map(repr, wrong)) or 'without any'}: each needs {SLOT} once, where the name stands"
        )
    prompts = [[template.replace(SLOT, name) for name in names] for template in templates]
    return [[prompt.lower() for prompt in of_template] for of_template in prompts] if lower else prompts
