"""What a run keeps of a model for prediction: its files, written and read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from zsl.common.files import atomic_path, read_json, write_json
from zsl.datasets.splits import Splits
from zsl.dcrgan.classifiers import DCRGAN, Ensemble
from zsl.dcrgan.config import DCRGANConfig
from zsl.dcrgan.dcrgan import Synthesizer, as_networks_see, attribute_scaler
from zsl.dcrgan.gan import generator_condition
from zsl.dcrgan.heads import SoftmaxHead
from zsl.dcrgan.networks import SRN, Generator
from zsl.dcrgan.regressors import Regressors
from zsl.dcrgan.variants import VARIANTS
from zsl.features.scaling import FeatureScaler
from zsl.features.split import TrainSplit
from zsl.features.table import FeatureTable
from zsl.scores.model import Calibrated

FORMAT = 1
FACTS_FILE, TRAIN_FILE, BACKBONE_FILE = "predictor.json", "train.safetensors", "backbone.safetensors"
MODEL_FILE, SYNTHESIZER_FILE = "model.safetensors", "synthesizer.safetensors"
UNIT_TOLERANCE = 1e-3  # float32 attributes divided by their norm keep it to 1e-6


# --- files -----------------------------------------------------------------------------------------------------------


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors as safetensors, atomically."""
    with atomic_path(path) as temporary:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, temporary)


def save_synthesizer(model: nn.Module, folder: Path) -> None:
    """Keep what a DCRGAN was made with; of other models there is nothing to keep."""
    model = _uncalibrated(model)
    made = getattr(model, "synthesizer", None)
    if made is not None:
        parts = {"generator": made.generator} | ({"srn": made.srn} if made.srn is not None else {})
        tensors = {f"{part}.{name}": value for part, net in parts.items() for name, value in net.state_dict().items()}
        save_tensors(tensors | {"representations": made.representations}, folder / SYNTHESIZER_FILE)


def _uncalibrated(model: nn.Module) -> Any:
    return model.model if isinstance(model, Calibrated) else model


def save_facts(folder: Path, table: FeatureTable, splits: Splits, train: TrainSplit, facts: Mapping[str, Any]) -> None:
    """Write what all seeds of a run share; `facts` are those of its `config.json`."""
    norms = train.attributes[torch.cat([train.seen, train.unseen])].norm(dim=1)
    keys = ("name", "weights_sha256", "pretraining", "dim", "precision", "transform", "encode", "weights_file")
    of_backbone = {key: table.manifest.get("backbone" if key == "name" else key) for key in keys}
    content = {
        "format": FORMAT,
        "benchmark": facts["benchmark"],
        "method": facts["method"],
        "data": facts["data"],
        "backbone": of_backbone,
        "unit_attributes": bool(((norms - 1).abs() < UNIT_TOLERANCE).all()),
        "attribute_names": list(splits.attribute_names),
        "class_names": list(splits.class_names),
        "new_classes": [],
        "config": facts["config"],
    }
    _save_shared(content, train, folder)


def _save_shared(facts: Mapping[str, Any], train: TrainSplit, folder: Path) -> None:
    tensors = {key: getattr(train, key) for key in ("features", "labels", "attributes", "seen", "unseen", "rows")}
    scaler = {"scaler.low": train.scaler.low, "scaler.span": train.scaler.span}
    save_tensors(tensors | scaler, folder / TRAIN_FILE)
    write_json(folder / FACTS_FILE, facts)


def _read_facts(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}; --run is a folder below runs/, or one that --export made")
    if not (folder / FACTS_FILE).is_file():
        config = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
        method, able = config.get("method"), ("dcrgan", *VARIANTS)
        if method is not None and method not in able:
            raise ValueError(f"{folder} is a run of {method}, which does not predict photos; {', '.join(able)} do")
        if method is None:
            raise ValueError(f"{folder} is neither a run nor an export: it has no {FACTS_FILE}")
        raise ValueError(
            f"{folder} has no {FACTS_FILE}: the run was not finished, is older than prediction, or was made by "
            "--protocol published; train it anew under another --name"
        )
    facts: dict[str, Any] = read_json(folder / FACTS_FILE)
    if facts.get("format") != FORMAT:
        raise ValueError(f"{folder / FACTS_FILE} has format {facts.get('format')!r}, this version reads {FORMAT}")
    return facts


def _load_train(path: Path, facts: Mapping[str, Any]) -> TrainSplit:
    tensors: dict[str, Any] = load_file(path)
    scaler = FeatureScaler(tensors.pop("scaler.low"), tensors.pop("scaler.span"))
    return TrainSplit(**tensors, scaler=scaler, class_names=tuple(facts["class_names"]))


def _load_model(folder: Path, train: TrainSplit, config: DCRGANConfig, seed: int) -> DCRGAN:
    """The model of one seed with its synthesizer."""
    kept, state = load_file(folder / SYNTHESIZER_FILE), load_file(folder / MODEL_FILE)
    gamma = config.classifiers.gamma + float(state.pop("gamma", torch.zeros(())))  # the recipe's, and a selection's
    state.pop("is_seen", None)
    state = {name.removeprefix("model."): tensor for name, tensor in state.items()}
    scaler = attribute_scaler(train, config)
    scaled = as_networks_see(train, scaler, config)
    representations = kept["representations"]
    condition = generator_condition(scaled.attributes, representations, config.gan)
    feature_dim, attribute_dim = train.features.shape[1], train.attributes.shape[1]
    shortcut = config.gan.shortcut_ridge is not None
    generator = Generator(condition.shape[1], attribute_dim, config.gan.hidden_dim, feature_dim, shortcut=shortcut)
    generator.load_state_dict(_part(kept, "generator."))
    srn = SRN(attribute_dim, representations.shape[1], config.srn.output) if config.sampling == "srn" else None
    if srn is not None:
        srn.load_state_dict(_part(kept, "srn."))
    regressors = Regressors(
        feature_dim, config.regressors.hidden_dim, attribute_dim, representations.shape[1],
        config.regressors.attributes_output,
    )  # fmt: skip
    heads = [[_head(state, f"{over}.{space}") for space in ("visual", "semantic", "representation")]
             for over in ("zsl", "gzsl")]  # fmt: skip
    model = DCRGAN(
        regressors, Ensemble(*heads[0]), Ensemble(*heads[1]), scaled, replace(config.classifiers, gamma=gamma)
    )
    model.load_state_dict(state)
    model.feature_power = config.feature_power
    model.synthesizer = Synthesizer(
        train=scaled, attribute_scaler=scaler, srn=srn, representations=representations,
        generator=generator.eval().requires_grad_(False), condition=condition, regressors=model.regressors,
        config=config, seed=seed,
    )  # fmt: skip
    return model.eval().requires_grad_(False)


def _head(state: Mapping[str, Tensor], name: str) -> SoftmaxHead:
    return SoftmaxHead.given(state[f"{name}.linear.weight"], state[f"{name}.linear.bias"])


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
