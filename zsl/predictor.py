"""What a run keeps for prediction, and answers from it: features in, class scores out, new classes by attributes.

    predictor.json                   backbone, classes, configuration
    train.safetensors                trainval features, labels, scaler; every class's attributes
    seed-<k>/model.safetensors       heads and regressors, as they were scored
    seed-<k>/synthesizer.safetensors generator, SRN, class representations

A run's folder has these beside its results.  An exported folder has these alone, and `backbone.safetensors`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from zsl.benchmarks.own import AttributeTable
from zsl.curves import Calibrated
from zsl.dcrgan import DCRGANConfig, Synthesizer, as_networks_see, attribute_scaler, fit_classifiers
from zsl.features import FeatureScaler, FeatureTable, TrainSplit
from zsl.files import atomic_path, read_json, write_json
from zsl.methods import VARIANTS, flatten, override
from zsl.networks import SRN, Generator
from zsl.splits import Splits
from zsl.stages.classifiers import DCRGAN, Ensemble, SoftmaxHead
from zsl.stages.gan import generator_condition
from zsl.stages.regressors import Regressors
from zsl.stages.srn import sample_linearly

FORMAT = 1
FACTS_FILE, TRAIN_FILE, BACKBONE_FILE = "predictor.json", "train.safetensors", "backbone.safetensors"
MODEL_FILE, SYNTHESIZER_FILE = "model.safetensors", "synthesizer.safetensors"
SPACES = ("VS", "SS", "SRS")
FARTHEST = 1000  # times the run's strongest attribute a new class's may be
UNIT_TOLERANCE = 1e-3  # float32 attributes divided by their norm keep it to 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictor:
    """Trained models of one run, one a seed."""

    facts: dict[str, Any]  # predictor.json
    train: TrainSplit  # with the attributes as they were given
    models: Mapping[int, DCRGAN]  # by seed, each with its synthesizer

    @property
    def classes(self) -> Tensor:
        """Ids of the columns of all scores [K]: seen, unseen, new ones."""
        return torch.cat([self.train.seen, self.train.unseen])

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the columns of all scores, K of them."""
        return tuple(self.train.class_names[label] for label in self.classes.tolist())

    @property
    def kinds(self) -> tuple[str, ...]:
        """What each column's class is: seen, unseen, or new."""
        new = set(self.facts["new_classes"])
        unseen = ["new" if self.train.class_names[label] in new else "unseen" for label in self.train.unseen.tolist()]
        return ("seen",) * len(self.train.seen) + tuple(unseen)

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """A names; numbers from 1 where the benchmark has none."""
        given = self.facts["attribute_names"]
        return tuple(given or map(str, range(1, self.train.attributes.shape[1] + 1)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """What a predictor says about N images; means over its seeds, on the CPU."""

    votes: Tensor  # [3, N, K] what VS, SS and SRS add to the fused scores: weighted log-probabilities
    calibration: Tensor  # [K] what is added to each class's score beside: −γ for seen classes
    attributes: Tensor  # [N, A] strengths that F1 reads from the features, in the units of the run's attributes

    @property
    def scores(self) -> Tensor:
        """Fused scores [N, K] (eq. 10), calibrated as in the run."""
        return self.votes.sum(0) + self.calibration


@torch.no_grad()
def score(predictor: Predictor, features: Tensor) -> Scored:
    """Score features [N, D] as the backbone gives them."""
    scaled = predictor.train.scaler(features.float().cpu())
    is_seen = torch.isin(predictor.classes, predictor.train.seen)
    votes, attributes, gammas = [], [], []
    for model in predictor.models.values():
        assert model.synthesizer is not None
        inputs = model.inputs(scaled)
        votes.append(torch.stack(model.gzsl.votes(inputs, model.regressors, model.config)))
        attributes.append(model.synthesizer.attribute_scaler.undo(model.regressors.attributes(inputs)))
        gammas.append(model.config.gamma)
    return Scored(
        votes=torch.stack(votes).mean(0),
        calibration=-sum(gammas) / len(gammas) * is_seen,
        attributes=torch.stack(attributes).mean(0),
    )


# --- new classes -----------------------------------------------------------------------------------------------------


def add_classes(predictor: Predictor, table: AttributeTable) -> Predictor:
    """The predictor with the classes of `table` beside its unseen ones, as if they had been unseen from the start.

    Their attributes are scaled as in training, SRN (or linear sampling) gives their representations, G their features;
    the heads are fitted anew.  No network is trained.

    Raises:
        ValueError: a class is there already, or the table's attributes are not the run's, or in other units.
    """
    train = predictor.train
    if known := [name for name in table.classes if name in predictor.class_names]:
        raise ValueError(f"the class {known[0]!r} is there already; give the new one another name")
    given = _in_run_units(_in_order(table, predictor), predictor)
    count = len(train.class_names)
    new = torch.arange(count, count + len(given))
    # A class of the benchmark that the run left out keeps its id and attributes; its name is the new class's.
    names = tuple(f"{name} (left out)" if name in table.classes else name for name in train.class_names)
    extended = replace(
        train,
        attributes=torch.cat([train.attributes, given.to(train.attributes.dtype)]),
        unseen=torch.cat([train.unseen, new]),
        class_names=(*names, *table.classes),
    )
    facts = predictor.facts | {"new_classes": [*predictor.facts["new_classes"], *table.classes]}
    models = {seed: _extend(model, extended, new) for seed, model in predictor.models.items()}
    return Predictor(facts=facts, train=extended, models=models)


def _extend(model: DCRGAN, train: TrainSplit, new: Tensor) -> DCRGAN:
    """The model of one seed with the classes `new` of `train`, whose attributes are as given."""
    made = model.synthesizer
    assert made is not None
    train = as_networks_see(train, made.attribute_scaler, made.config)
    if made.srn is not None:
        with torch.no_grad():
            added = made.srn(train.attributes[new])
    else:
        prototypes = made.representations[train.seen]  # linear sampling leaves the seen classes theirs
        added = sample_linearly(replace(train, unseen=new), prototypes, made.config.ldf_ridge)[new]
    representations = torch.cat([made.representations, added])
    condition = generator_condition(train.attributes, representations, made.config.gan)
    return fit_classifiers(
        replace(made, train=train, representations=representations, condition=condition), model.config
    )


def _in_run_units(strengths: Tensor, predictor: Predictor) -> Tensor:
    """Strengths [n, A], to length 1 where the run's have that; far from the run's they are refused."""
    if predictor.facts["unit_attributes"]:
        strengths = strengths / strengths.abs().amax(dim=1, keepdim=True)  # first, for squares overflow
        strengths = strengths / strengths.norm(dim=1, keepdim=True)
    usual, given = predictor.train.attributes.abs().max().item(), strengths.abs().max().item()
    if given > FARTHEST * usual:
        raise ValueError(
            f"a strength of {given:g}: the run's own are {usual:g} at most, so that this is in other units; "
            "give strengths in those of the run's attributes"
        )
    return strengths


def _in_order(table: AttributeTable, predictor: Predictor) -> Tensor:
    """The table's strengths [n, A] with the columns in the run's order."""
    names = predictor.attribute_names
    columns = list(range(len(names)))
    if predictor.facts["attribute_names"]:
        place = {name: column for column, name in enumerate(table.attributes)}
        absent = [name for name in names if name not in place]
        unknown = sorted(place.keys() - set(names), key=place.__getitem__)
        if absent or unknown:
            told = [f"no column {absent[0]!r}"] * bool(absent) + [f"a column {unknown[0]!r} it lacks"] * bool(unknown)
            raise ValueError(
                f"the new classes' table has {' and '.join(told)}; needed are the run's {len(names)} attributes "
                f"({names[0]}, …)"
            )
        columns = [place[name] for name in names]
    elif len(table.attributes) != len(names):
        raise ValueError(f"the new classes' table has {len(table.attributes)} attributes, the run has {len(names)}")
    return torch.from_numpy(table.strengths)[:, columns]


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


def save_predictor(predictor: Predictor, folder: Path) -> None:
    """Write a predictor, new classes included, to a folder that `load_predictor` reads."""
    config = predictor.facts["config"]
    model = next(iter(predictor.models.values()))  # γ of a selection is in the classifiers' by now
    config = config | {"classifiers": config["classifiers"] | {"gamma": model.config.gamma}}
    for seed, model in predictor.models.items():
        save_tensors(model.state_dict(), folder / f"seed-{seed}" / MODEL_FILE)
        save_synthesizer(model, folder / f"seed-{seed}")
    facts = predictor.facts | {"config": config, "class_names": list(predictor.train.class_names)}
    _save_shared(facts, predictor.train, folder)


def load_predictor(folder: Path, seeds: Sequence[int] = ()) -> Predictor:
    """Read what a run, or an export, keeps; `seeds`: some of its seeds, () for all.

    Raises:
        FileNotFoundError: there is no such folder, or it has no such seed.
        ValueError: the run cannot predict, or a file of it is broken.
    """
    facts = _read_facts(folder)
    there = sorted(int(path.parent.name.removeprefix("seed-")) for path in folder.glob(f"seed-*/{SYNTHESIZER_FILE}"))
    if not there or (absent := [seed for seed in seeds if seed not in there]):
        asked = f"seed {absent[0]}" if there else "seed that can predict"
        raise FileNotFoundError(f"{folder} has no {asked}; there are {', '.join(map(str, there)) or 'none'}")
    config = override(DCRGANConfig(), flatten(facts["config"]))
    try:
        train = _load_train(folder / TRAIN_FILE, facts)
        models = {seed: _load_model(folder / f"seed-{seed}", train, config, seed) for seed in seeds or there}
    except (SafetensorError, KeyError, RuntimeError) as error:
        raise ValueError(f"{folder} has a file that is broken or of something else ({error}); run it anew") from error
    return Predictor(facts=facts, train=train, models=models)


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
