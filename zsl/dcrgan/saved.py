"""What a run keeps of a model for prediction: its files, written and read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from zsl.common.files import read_json, write_json
from zsl.common.tensors import write_tensors
from zsl.datasets.splits import Splits
from zsl.dcrgan.classifiers import Ensemble
from zsl.dcrgan.config import DCRGANConfig
from zsl.dcrgan.dcrgan import as_networks_see, attribute_scaler
from zsl.dcrgan.gan import generator_condition
from zsl.dcrgan.heads import SoftmaxHead
from zsl.dcrgan.model import DCRGAN, Synthesizer
from zsl.dcrgan.networks import SRN, Generator
from zsl.dcrgan.regressors import Regressors
from zsl.dcrgan.variants import VARIANTS
from zsl.features.scaling import FeatureScaler
from zsl.features.split import TrainSplit
from zsl.features.table import FeatureTable
from zsl.scores.model import Calibrated

FORMAT = 2
FACTS_FILE, TRAIN_FILE, BACKBONE_FILE = "predictor.json", "train.safetensors", "backbone.safetensors"
MODEL_FILE, SYNTHESIZER_FILE = "model.safetensors", "synthesizer.safetensors"
UNIT_TOLERANCE = 1e-3  # float32 attributes divided by their norm keep it to 1e-6


# --- files -----------------------------------------------------------------------------------------------------------


def save_synthesizer(model: DCRGAN, folder: Path) -> None:
    """Keep what a DCRGAN was made with."""
    synthesizer = model.synthesizer
    parts = {"generator": synthesizer.generator} | ({"srn": synthesizer.srn} if synthesizer.srn is not None else {})
    tensors = {f"{part}.{name}": value for part, net in parts.items() for name, value in net.state_dict().items()}
    write_tensors(folder / SYNTHESIZER_FILE, tensors | {"representations": synthesizer.representations})


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
    save_shared(content, train, folder)


def save_shared(facts: Mapping[str, Any], train: TrainSplit, folder: Path) -> None:
    """Write what all models of a run, or of an export, share."""
    tensors = {key: getattr(train, key) for key in ("features", "labels", "attributes", "seen", "unseen", "rows")}
    scaler = {"scaler.low": train.scaler.low, "scaler.span": train.scaler.span}
    write_tensors(folder / TRAIN_FILE, tensors | scaler)
    write_json(folder / FACTS_FILE, facts)


def read_facts(folder: Path) -> dict[str, Any]:
    """The content of `predictor.json`.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is no run or export that can predict, or of another version.
    """
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


def load_train(path: Path, facts: Mapping[str, Any]) -> TrainSplit:
    """The trainval data of a run, with attributes as they were given."""
    tensors: dict[str, Any] = load_file(path)
    scaler = FeatureScaler(tensors.pop("scaler.low"), tensors.pop("scaler.span"))
    return TrainSplit(**tensors, scaler=scaler, class_names=tuple(facts["class_names"]))


def load_model(folder: Path, train: TrainSplit, config: DCRGANConfig, seed: int) -> Calibrated:
    """The model of one seed, as it was scored.

    train: what `load_train` gives.
    """
    kept, state = load_file(folder / SYNTHESIZER_FILE), load_file(folder / MODEL_FILE)
    gamma = float(state.pop("gamma"))
    state.pop("is_seen")
    state = {name.removeprefix("model."): tensor for name, tensor in state.items()}
    synthesizer = _load_synthesizer(kept, train, config, seed)
    zsl, gzsl = (
        Ensemble(*(_head(state, f"{over}.{space}") for space in ("visual", "semantic", "representation")))
        for over in ("zsl", "gzsl")
    )
    model = DCRGAN(synthesizer, zsl, gzsl, config.classifiers)
    model.load_state_dict(state)
    return Calibrated(model, gamma, train.seen)


def _load_synthesizer(kept: Mapping[str, Tensor], train: TrainSplit, config: DCRGANConfig, seed: int) -> Synthesizer:
    """The synthesizer behind `kept`; its regressors are still as they were made, for the model's file has them."""
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
    return Synthesizer(
        train=scaled, attribute_scaler=scaler, srn=srn, representations=representations,
        generator=generator.eval().requires_grad_(False), condition=condition, regressors=regressors,
        config=config, seed=seed,
    )  # fmt: skip


def _head(state: Mapping[str, Tensor], name: str) -> SoftmaxHead:
    return SoftmaxHead.from_weights(state[f"{name}.linear.weight"], state[f"{name}.linear.bias"])


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
