"""The files that a run keeps for prediction: how they are written and read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from zsl.common.config import Settings
from zsl.common.files import read_object
from zsl.common.records import as_record, write_record
from zsl.common.tensors import read_tensors, write_tensors
from zsl.datasets.class_names import NAMES_FILE, write_names
from zsl.datasets.splits import Splits
from zsl.dcrgan.classifiers import Ensemble
from zsl.dcrgan.config import DCRGANConfig
from zsl.dcrgan.gan import generator_condition
from zsl.dcrgan.heads import SoftmaxHead
from zsl.dcrgan.inputs import as_networks_see, attribute_scaler
from zsl.dcrgan.model import DCRGAN, Synthesizer
from zsl.dcrgan.networks import SRN, Generator
from zsl.dcrgan.regressors import Regressors
from zsl.dcrgan.variants import VARIANTS
from zsl.features.facts import describe_data
from zsl.features.manifest import EncodeFacts, Manifest, TransformFacts
from zsl.features.scaling import FeatureScaler
from zsl.features.split import TrainSplit
from zsl.features.table import FeatureTable
from zsl.scores.model import Calibrated

FORMAT = 2
REMEDY = "train the run anew, or export it anew"
CONFIG_FILE = "config.json"
FACTS_FILE, TRAIN_FILE, BACKBONE_FILE = "predictor.json", "train.safetensors", "backbone.safetensors"
MODEL_FILE, SYNTHESIZER_FILE = "model.safetensors", "synthesizer.safetensors"
TRAIN = ("features", "labels", "attributes", "seen", "unseen", "rows")  # tensors of a TrainSplit
UNIT_TOLERANCE = 1e-3  # norms of unit float32 attributes differ from 1 by about 1e-6


# --- files -----------------------------------------------------------------------------------------------------------


def save_synthesizer(model: DCRGAN, folder: Path) -> None:
    """Write the synthesizer of a DCRGAN: generator, SRN and representations."""
    synthesizer = model.synthesizer
    parts = {"generator": synthesizer.generator} | ({"srn": synthesizer.srn} if synthesizer.srn is not None else {})
    tensors = {f"{part}.{name}": value for part, net in parts.items() for name, value in net.state_dict().items()}
    write_tensors(folder / SYNTHESIZER_FILE, tensors | {"representations": synthesizer.representations})


@dataclass(frozen=True, kw_only=True)
class BackboneFacts:
    """The backbone that gave a run its features."""

    name: str
    weights_sha256: str | None
    pretraining: str
    dim: int
    precision: str
    transform: TransformFacts | None  # None: the features were imported
    encode: EncodeFacts | None
    weights_file: str | None  # name of the user's file of weights
    parts: tuple[BackboneFacts, ...] = ()  # of joined backbones, in the order of their features

    @property
    def each(self) -> tuple[BackboneFacts, ...]:
        """The parts of joined backbones; of a backbone alone its own facts."""
        return self.parts or (self,)

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """The facts that the manifest of a feature table states."""
        return cls(
            name=manifest.backbone,
            weights_sha256=manifest.weights_sha256,
            pretraining=manifest.pretraining,
            dim=manifest.dim,
            precision=manifest.precision,
            transform=manifest.transform,
            encode=manifest.encode,
            weights_file=manifest.weights_file,
            parts=tuple(map(cls.of, manifest.parts)) if len(manifest.parts) > 1 else (),
        )


@dataclass(frozen=True, kw_only=True)
class PredictorFacts:
    """The content of `predictor.json`."""

    format: int
    benchmark: str
    method: str
    data: str  # which photos, in words
    backbone: BackboneFacts
    unit_attributes: bool  # whether each class's attributes have length 1
    attribute_names: tuple[str, ...]  # () where the benchmark has none
    class_names: tuple[str, ...]
    new_classes: tuple[str, ...]  # that joined after training
    config: Settings
    files: dict[str, str] = field(default_factory=dict)  # of an export: each file of tensors, and the hash of these


def save_facts(folder: Path, table: FeatureTable, splits: Splits, train: TrainSplit, method: str, config: Any) -> None:
    """Write what all seeds of a run of `method` with `config` share."""
    norms = train.attributes[torch.cat([train.seen, train.unseen])].norm(dim=1)
    manifest = table.manifest
    facts = PredictorFacts(
        format=FORMAT,
        benchmark=manifest.benchmark,
        method=method,
        data=describe_data(table, splits).data,
        backbone=BackboneFacts.of(manifest),
        unit_attributes=bool(((norms - 1).abs() < UNIT_TOLERANCE).all()),
        attribute_names=splits.attribute_names,
        class_names=splits.class_names,
        new_classes=(),
        config=asdict(config),
    )
    save_train(train, folder)
    write_record(folder / FACTS_FILE, facts)
    if not (folder / NAMES_FILE).is_file():  # the user may edit it
        write_names(folder / NAMES_FILE, splits.class_names, splits.names)


def save_train(train: TrainSplit, folder: Path) -> None:
    """Write the trainval data that all models of a run, or of an export, share."""
    tensors = {key: getattr(train, key) for key in TRAIN}
    scaler = {"scaler.low": train.scaler.low, "scaler.span": train.scaler.span}
    write_tensors(folder / TRAIN_FILE, tensors | scaler)


def read_facts(folder: Path) -> PredictorFacts:
    """The content of `predictor.json`.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is no run or export that can predict, or of another version, or the file is damaged.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}; --run is a folder below runs/, or one that --export made")
    if not (folder / FACTS_FILE).is_file():
        _refuse_without_facts(folder)
    content = read_object(folder / FACTS_FILE, REMEDY)
    if content.get("format") != FORMAT:
        raise ValueError(f"{folder / FACTS_FILE} has format {content.get('format')!r}, this version reads {FORMAT}")
    return as_record(content, PredictorFacts, str(folder / FACTS_FILE), REMEDY)


def read_config(content: Settings, where: str) -> DCRGANConfig:
    """Make the configuration of DCR-GAN from the JSON `content` of the file `where`.

    Raises:
        ValueError: a field is of another type or outside its range; the message names file and field.
    """
    return as_record(content, DCRGANConfig, f"{where}, config", REMEDY)


def _refuse_without_facts(folder: Path) -> None:
    config = read_object(folder / CONFIG_FILE, "train it anew") if (folder / CONFIG_FILE).is_file() else {}
    method, able = config.get("method"), tuple(VARIANTS)
    if method is not None and method not in able:
        raise ValueError(f"{folder} is a run of {method}, which does not predict photos; {', '.join(able)} do")
    if method is None:
        raise ValueError(f"{folder} is neither a run nor an export: it has no {FACTS_FILE}")
    raise ValueError(
        f"{folder} has no {FACTS_FILE}: the run was not finished, is older than prediction, or was made by "
        "--protocol published; train it anew under another --name"
    )


def load_train(path: Path, facts: PredictorFacts) -> TrainSplit:
    """The trainval data of a run, with attributes as they were given."""
    tensors, _ = read_tensors(path, REMEDY)
    scaler = FeatureScaler(tensors["scaler.low"], tensors["scaler.span"])
    values: dict[str, Any] = {name: tensors[name] for name in TRAIN}
    return TrainSplit(**values, scaler=scaler, class_names=facts.class_names)


def load_model(folder: Path, train: TrainSplit, config: DCRGANConfig, seed: int) -> Calibrated:
    """Read the model of one seed; it gives the scores that the run reported.

    train: the result of `load_train`.
    """
    (tensors, _), (state, _) = (read_tensors(folder / name, REMEDY) for name in (SYNTHESIZER_FILE, MODEL_FILE))
    gamma = float(state.pop("gamma"))
    state.pop("is_seen")
    state = {name.removeprefix("model."): tensor for name, tensor in state.items()}
    synthesizer = _load_synthesizer(tensors, train, config, seed)
    zsl, gzsl = (
        Ensemble(*(_head(state, f"{over}.{space}") for space in ("visual", "semantic", "representation")))
        for over in ("zsl", "gzsl")
    )
    model = DCRGAN(synthesizer, zsl, gzsl, config.classifiers)
    model.load_state_dict(state)
    return Calibrated(model, gamma, train.seen)


def _load_synthesizer(tensors: Mapping[str, Tensor], train: TrainSplit, config: DCRGANConfig, seed: int) -> Synthesizer:
    """Make the synthesizer from its file's tensors.  The model's file holds the regressors; these are random here."""
    scaler = attribute_scaler(train, config)
    scaled = as_networks_see(train, scaler, config)
    representations = tensors["representations"]
    condition = generator_condition(scaled.attributes, representations, config.gan)
    feature_dim, attribute_dim = train.features.shape[1], train.attributes.shape[1]
    shortcut = config.gan.shortcut_ridge is not None
    generator = Generator(condition.shape[1], attribute_dim, config.gan.hidden_dim, feature_dim, shortcut=shortcut)
    generator.load_state_dict(_part(tensors, "generator."))
    has_srn = config.sampling == "srn" and config.uses_representations
    srn = SRN(attribute_dim, representations.shape[1], config.srn.output) if has_srn else None
    if srn is not None:
        srn.load_state_dict(_part(tensors, "srn."))
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
