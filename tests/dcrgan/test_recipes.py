"""Recipes of the paper and of its code: every cell of the published settings, and each option against a plain form."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from sklearn.preprocessing import MinMaxScaler
from torch import Tensor, nn
from torch.optim import Optimizer
from toy import toy_splits

from zsl.cli import ConfigFlags
from zsl.common.config import override
from zsl.dcrgan.classifiers import ClassifierConfig
from zsl.dcrgan.config import DCRGANConfig
from zsl.dcrgan.dcrgan import train_dcrgan
from zsl.dcrgan.fitting import fit_head
from zsl.dcrgan.gan import GANConfig, train_gan
from zsl.dcrgan.heads import SoftmaxHead
from zsl.dcrgan.losses import norm_representation_loss
from zsl.dcrgan.metric import class_prototypes, train_metric
from zsl.dcrgan.networks import SRN, Regressor
from zsl.dcrgan.recipes import PUBLISHED, RECIPE_NAMES, find_recipe
from zsl.dcrgan.regressors import RegressorConfig, train_regressors
from zsl.dcrgan.srn import train_srn
from zsl.experiments.experiment import Experiment
from zsl.experiments.methods import find_method
from zsl.experiments.trainer import Trainer
from zsl.features.load import load_splits
from zsl.features.split import TrainSplit, split_features
from zsl.features.table import read_features
from zsl.predict.predictor import load_predictor
from zsl.scores.model import ZeroShotModel
from zsl.training.log import Log

# The settings that the authors published with their code, one row a benchmark and setting.  CUB-GZSL's ω are an oracle.
COLUMNS = ("R", "F", "lr D", "lr G", "cycle", "loss_syn", "n", "b", "ω", "lr VS", "lr SRS")
TABLE: dict[str, tuple[Any, ...]] = {
    "cub-gzsl": (20, 7000, 1e-4, 1e-4, (1, 1, 1, 1), 5, 150, 150, None, 1e-3, 0.1),
    "cub-zsl": (20, 7000, 1e-4, 1e-4, (1, 1, 1, 1), 5, 1100, 1400, (0.8, 0.05), 1e-3, 1e-3),
    "awa1-gzsl": (30, 3072, 1e-3, 1e-4, (1, 1e-4, 1e-4, 1e-4), 30, 1900, 1650, (0.7, 0.05), 1e-3, 1e-3),
    "awa1-zsl": (60, 3072, 1e-5, 1e-5, (1, 1e-2, 1e-4, 1e-4), 15, 850, 750, (0.5, 0.03), 1e-3, 1e-3),
    "apy-gzsl": (80, 6144, 1e-5, 1e-5, (1e-5, 1e-4, 0, 1e-7), 10, 1600, 2000, (0.3, 0.3), 1e-3, 0.1),
    "sun-gzsl": (90, 7000, 2e-4, 2e-4, (1, 1, 0, 1e-3), 20, 40, 400, (1.6, 0.05), 1e-3, 5e-3),
    "sun-zsl": (30, 7000, 2e-4, 2e-4, (1, 1, 1e-4, 1e-4), 20, 450, 400, (0.8, 0.05), 5e-4, 5e-3),
}
BORROWED = {"awa2-gzsl": "awa1-gzsl", "awa2-zsl": "awa1-zsl", "apy-zsl": "apy-gzsl"}  # not published: whose they have
TRAINVAL = {"cub": 7057, "awa1": 19832, "awa2": 23527, "apy": 5932, "sun": 10320}
NAMES = [*TABLE, *BORROWED]


def cells(config: DCRGANConfig) -> tuple[Any, ...]:
    """What the table's columns are called in a configuration."""
    gan, heads = config.gan, config.classifiers
    cycle = (
        gan.cycle_attributes, gan.unseen_cycle_attributes, gan.cycle_representations, gan.unseen_cycle_representations
    )  # fmt: skip
    return (
        config.metric.representation_dim, config.regressors.hidden_dim, gan.lr_critic, gan.lr_generator, cycle,
        gan.unseen_cycle_images, heads.images_per_unseen_class, heads.batch_size, (heads.weight_ss, heads.weight_srs),
        heads.lr_vs, heads.lr_srs,
    )  # fmt: skip


def test_there_are_twenty_published_recipes() -> None:
    assert set(PUBLISHED) == {f"{form}-{name}" for form in ("reference", "paper") for name in NAMES}
    assert set(RECIPE_NAMES) - set(PUBLISHED) == {"shapes", "cub"}


@pytest.mark.parametrize("name", NAMES)
def test_a_reference_recipe_has_every_cell_of_the_published_table(name: str) -> None:
    row = dict(zip(COLUMNS, TABLE[BORROWED.get(name, name)], strict=True))
    if row["ω"] is None:  # an oracle: CUB-ZSL's
        row["ω"] = dict(zip(COLUMNS, TABLE["cub-zsl"], strict=True))["ω"]
    assert dict(zip(COLUMNS, cells(find_recipe("cub", f"reference-{name}").config), strict=True)) == row


@pytest.mark.parametrize("name", NAMES)
def test_a_reference_recipe_has_what_is_the_same_for_all(name: str) -> None:
    config = find_recipe("cub", f"reference-{name}").config
    metric, srn, regressors, gan, heads = config.metric, config.srn, config.regressors, config.gan, config.classifiers
    assert (metric.modalities, metric.mining, metric.margin, metric.weight_decay) == ("both", "all", 1.0, 5e-5)
    assert (metric.lr, metric.betas, metric.batch_size, metric.steps) == (1e-4, (0.5, 0.9), 64, 100_000)
    assert (config.unit_prototypes, config.prototype_std, config.attribute_norm) == (True, None, None)
    assert (srn.output, srn.loss, srn.weight_decay) == ("sigmoid", "norm", 5e-6)
    assert (srn.lr, srn.betas, srn.steps) == (1e-4, (0.5, 0.9), 20_000)
    assert (gan.hidden_dim, gan.penalty_weight, gan.critic_steps, gan.betas) == (4096, 10.0, 5, (0.5, 0.999))
    assert (gan.critic_sees, gan.generator_sees, gan.classification, gan.shortcut_ridge) == ("all", "all", "none", None)
    assert (gan.batch_size, gan.steps) == (64, 100 * math.ceil(TRAINVAL[name.split("-")[0]] / 64))
    assert (gan.cycle_loss, gan.semantic_transductive) == ("mse", True)
    assert gan.seen_cycle_images == gan.unseen_cycle_images
    assert (regressors.pretrain_epochs, regressors.pretrain_epochs_representations) == (50, 100)
    assert (regressors.attributes_output, regressors.lr, regressors.frozen) == ("relu", 1e-4, True)
    assert (heads.fit, heads.standardise, heads.lr_falls, heads.betas) == ("softmax", False, False, (0.5, 0.999))
    assert (heads.epochs, heads.semantic_epochs, heads.semantic_batch_size, heads.least_steps) == (25, 20, 100, 1)
    assert heads.weight_vs == 1.0
    for backbone in ("resnet101.tv_in1k", "any other"):
        assert find_recipe("cub", f"reference-{name}").gamma_for("any", backbone, config) == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_a_paper_recipe_has_the_papers_equations_at_the_codes_sizes(name: str) -> None:
    config, reference = find_recipe("cub", f"paper-{name}").config, find_recipe("cub", f"reference-{name}").config
    gan, regressors = config.gan, config.regressors
    assert (config.unit_prototypes, config.srn.output, config.srn.loss) == (False, "linear", "squared")
    assert (regressors.attributes_output, regressors.pretrain_epochs, regressors.frozen) == ("linear", 0, False)
    assert (gan.cycle_loss, gan.seen_cycle_images, gan.semantic_transductive) == ("l1", None, False)
    assert find_method("B", config).configured(config).gan.classification_weight == 1.0
    assert gan.cycle_attributes > 0
    assert gan.cycle_representations > 0  # F2 learns nowhere else
    assert config.classifiers == reference.classifiers
    assert (gan.steps, gan.lr_critic, gan.hidden_dim) == (
        reference.gan.steps, reference.gan.lr_critic, reference.gan.hidden_dim
    )  # fmt: skip


def tiny(config: DCRGANConfig) -> DCRGANConfig:
    """The same method in a second."""
    pretraining = {"pretrain_epochs": 1, "pretrain_epochs_representations": 2} if config.regressors.frozen else {}
    return override(
        config,
        {
            "metric.steps": 4, "metric.representation_dim": 5, "srn.steps": 4, "gan.steps": 3, "gan.hidden_dim": 16,
            "regressors.hidden_dim": 16, "classifiers.epochs": 2, "classifiers.semantic_epochs": 1,
            "classifiers.images_per_unseen_class": 6,
        }
        | {f"regressors.{name}": value for name, value in pretraining.items()},
    )  # fmt: skip


@pytest.fixture(scope="module")
def experiment(tiny_shapes: Path, tiny_features: Path, accelerator: Accelerator) -> Experiment:
    """The tiny drawn benchmark."""
    table = read_features(tiny_features)
    splits = load_splits("shapes", tiny_shapes, table)
    train, test = split_features(table, splits)
    return Experiment(table=table, splits=splits, train=train, test=test, seeds=(0,), accelerator=accelerator)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_recipe_trains_to_its_end(name: str, experiment: Experiment) -> None:
    log = Listening()
    model = train_dcrgan(experiment.train, tiny(find_recipe("shapes", name).config), seed=0, log=log)
    expected = ["metric", "SRN", *(["regressors"] if name.startswith("reference") else []), "DCR-GAN"]
    heads = [f"{space} of {over}" for space in ("VS", "SS", "SRS") for over in ("ZSL", "GZSL")]
    assert list(log.counts) == expected + heads
    features = experiment.test.unseen.features
    for scores, count in ((model.zsl_scores(features), 3), (model.gzsl_scores(features), 9)):
        assert scores.shape == (len(features), count)
        assert scores.isfinite().all()
        assert (scores.std(dim=1) > 0).all()


def test_a_run_in_the_reference_codes_form_reads_back_as_it_was(experiment: Experiment, tmp_path: Path) -> None:
    """SRN's sigmoid and F1's ReLU have no weights: only the configuration knows of them."""
    config = tiny(find_recipe("shapes", "reference-sun-zsl").config)
    kept: list[Any] = []

    class Keeping(Trainer):
        def model(self, *args: Any, **named: Any) -> ZeroShotModel:
            kept.append(super().model(*args, **named))
            return kept[-1]

    method = find_method("dcrgan", config)
    experiment.honest(method, config, tmp_path / "run", gamma=0.0, trainer=Keeping())
    (read,) = load_predictor(tmp_path / "run").models.values()
    features = experiment.test.unseen.features
    assert torch.equal(read.gzsl_scores(features), kept[0].gzsl_scores(features))
    synthesizer = read.model.synthesizer
    assert synthesizer.srn is not None
    assert torch.equal(read.model.regressors.attributes(features), kept[0].regressors.attributes(features))
    made = synthesizer.srn(synthesizer.train.attributes)
    torch.testing.assert_close(made, kept[0].synthesizer.representations)


# --- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["reference", "paper"])
@pytest.mark.parametrize(
    ("name", "feature_dim", "of_gan", "of_regressors"),
    [("cub-gzsl", 2048, 4096, 7000), ("cub-gzsl", 1280, 2560, 4352), ("awa1-zsl", 1024, 2048, 1536),
     ("apy-gzsl", 4096, 8192, 12288), ("awa1-zsl", 8, 64, 64)],
)  # fmt: skip
def test_hidden_units_follow_the_features(
    form: str, name: str, feature_dim: int, of_gan: int, of_regressors: int
) -> None:
    config = find_recipe("cub", f"{form}-{name}", feature_dim=feature_dim).config
    assert (config.gan.hidden_dim, config.regressors.hidden_dim) == (of_gan, of_regressors)
    whole = find_recipe("cub", f"{form}-{name}").config  # for 2048
    sizes = {"gan.hidden_dim": whole.gan.hidden_dim, "regressors.hidden_dim": whole.regressors.hidden_dim}
    assert override(config, sizes) == whole


def test_our_own_recipes_are_for_any_features() -> None:
    for name in ("cub", "shapes", "sun"):
        assert find_recipe(name, feature_dim=64) == find_recipe(name)


def test_a_command_line_knows_how_long_its_features_are(tiny_features: Path, tmp_path: Path) -> None:
    assert ConfigFlags(features=tiny_features).feature_dim == 64
    assert ConfigFlags(features=tmp_path).feature_dim is None


# --- options, each against a plain form ------------------------------------------------------------------------------


class Listening(Log):
    """Notes steps, logged terms, and what passes through the networks of a stage."""

    def __init__(self, *hooked: str) -> None:
        self.hooked = hooked
        self.counts: dict[str, int] = {}
        self.terms: list[dict[str, float]] = []
        self.passed: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in hooked}  # (input, output)
        self.optimizers: dict[str, Optimizer] = {}

    def __call__(self, stage: str, step: int, terms: dict[str, float]) -> None:
        self.terms.append(terms)

    def steps(
        self, stage: str, count: int, modules: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizer]
    ) -> Iterator[int]:
        if count:
            self.counts[stage] = count
        for optimizer in optimizers.values():
            self.optimizers[stage] = optimizer
        for name in self.hooked:
            first, *rest = name.split(".")
            modules[first].get_submodule(".".join(rest)).register_forward_hook(
                lambda _, given, out, name=name: self.passed[name].append((given[0].detach(), out.detach()))
            )
        yield from range(count)


def test_unit_prototypes_are_means_of_scikit_learns_scaled_outputs() -> None:
    train, _ = toy_splits()
    metric = train_metric(train, find_recipe("shapes").config.metric, seed=0)
    with torch.no_grad():
        outputs = metric(train.features, train.attributes[train.labels]).double().numpy()
    scaled = MinMaxScaler().fit_transform(outputs)
    scaled /= scaled.max()
    expected = [scaled[train.labels.numpy() == class_id].mean(0) for class_id in train.seen.tolist()]
    made = class_prototypes(metric, train, unit=True, batch_size=7)
    np.testing.assert_allclose(made.numpy(), np.stack(expected), atol=1e-5)


@pytest.mark.parametrize(
    ("output", "plain"), [("sigmoid", lambda x: 1 / (1 + (-x).exp())), ("relu", lambda x: x * (x > 0))]
)
def test_an_output_is_a_function_of_the_linear_one(output: Any, plain: Any) -> None:
    for linear, other in (
        (SRN(5, 3), SRN(5, 3, output)),
        (Regressor(5, 7, 3), Regressor(5, 7, 3, output)),
    ):
        other.load_state_dict(linear.state_dict())
        x = torch.randn(6, 5) * 4
        torch.testing.assert_close(other(x), plain(linear(x)))


def test_the_norm_loss_is_a_norm_over_all_classes_by_their_number() -> None:
    made, wanted = torch.randn(4, 3), torch.randn(4, 3)
    square = sum(float(made[i, j] - wanted[i, j]) ** 2 for i in range(4) for j in range(3))
    assert norm_representation_loss(made, wanted).item() == pytest.approx(math.sqrt(square) / 4, rel=1e-5)


def test_srn_with_a_sigmoid_learns_prototypes_in_the_unit_cube() -> None:
    train, _ = toy_splits()
    prototypes = torch.rand(len(train.seen), 4, generator=torch.Generator().manual_seed(0))
    base = find_recipe("shapes", "reference-cub-zsl").config.srn
    srn = train_srn(train, prototypes, replace(base, steps=2000, lr=1e-2, weight_decay=0.0), seed=0)
    with torch.no_grad():
        made = srn(train.attributes)
    assert ((made > 0) & (made < 1)).all()  # of unseen classes too
    assert (made[train.seen] - prototypes).square().mean() < 0.1 * prototypes.var()


def test_f1_and_f2_are_pre_trained_for_epochs_of_their_own() -> None:
    """F1 ends where a shorter pre-training of both ends, F2 where a longer one does."""
    train, _ = toy_splits()
    representations = torch.rand(len(train.attributes), 3, generator=torch.Generator().manual_seed(0))

    def made(of_f1: int, of_f2: int | None) -> dict[str, Tensor]:
        config = RegressorConfig(hidden_dim=8, pretrain_epochs=of_f1, pretrain_epochs_representations=of_f2)
        return train_regressors(train, representations, config, seed=0).state_dict()

    own, short, long = made(2, 5), made(2, None), made(5, None)
    for name, weight in own.items():
        same, other = (short, long) if name.startswith("attributes") else (long, short)
        assert torch.equal(weight, same[name])
        assert not torch.equal(weight, other[name])


def test_pre_training_of_fewer_images_than_a_batch_is_not_left_out() -> None:
    train, _ = toy_splits()
    log = Listening()
    config = RegressorConfig(hidden_dim=8, pretrain_epochs=3, batch_size=len(train.features) + 1)
    train_regressors(train, torch.rand(len(train.attributes), 3), config, seed=0, log=log)
    assert log.counts == {"regressors": 3}


@pytest.mark.parametrize(("kind", "power"), [("l1", 1), ("mse", 2)])
def test_cycle_terms_over_every_class_are_a_loop_over_classes(kind: Any, power: int) -> None:
    train, _ = toy_splits()
    representations = torch.rand(len(train.attributes), 3, generator=torch.Generator().manual_seed(0))
    regressors = train_regressors(train, representations, RegressorConfig(hidden_dim=8), seed=0)
    config = GANConfig(
        hidden_dim=8, steps=1, cycle_loss=kind, seen_cycle_images=2, semantic_transductive=True, unseen_cycle_images=3,
        cycle_attributes=0.7, cycle_representations=0.3, unseen_cycle_attributes=0.2, unseen_cycle_representations=0.9,
    )  # fmt: skip
    log = Listening("generator", "regressors.attributes", "regressors.representations")
    train_gan(train, representations, regressors, config, seed=0, log=log)
    (terms,) = log.terms
    for part, (name, classes, images) in enumerate((("", train.seen, 2), ("unseen ", train.unseen, 3))):
        conditions, fakes = log.passed["generator"][2 + part]  # before: for the critic, for the critic's vote
        assert torch.equal(
            conditions, torch.cat([train.attributes, representations], 1)[classes].repeat_interleave(images, 0)
        )
        for space, of_classes, weight in (
            ("attributes", train.attributes, (0.7, 0.2)[part]),
            ("representations", representations, (0.3, 0.9)[part]),
        ):
            given, made = log.passed[f"regressors.{space}"][part]
            assert torch.equal(given, fakes)
            errors = [
                abs(float(made[row, k] - of_classes[class_id, k])) ** power
                for row, class_id in enumerate(class_id for class_id in classes.tolist() for _ in range(images))
                for k in range(of_classes.shape[1])
            ]
            assert terms[name + space] == pytest.approx(weight * sum(errors) / len(errors), rel=1e-4)


def test_heads_of_the_reference_code_are_minibatch_adam_at_one_rate_on_inputs_as_they_are() -> None:
    torch.manual_seed(0)
    inputs, targets = torch.randn(50, 4) * 3 + 2, torch.randint(3, (50,))
    config = ClassifierConfig(
        epochs=3, batch_size=20, standardise=False, lr_falls=False, least_steps=1, betas=(0.5, 0.999)
    )
    head = SoftmaxHead(torch.zeros(2, 4), 3)
    plain = nn.Linear(4, 3)
    for parameter in plain.parameters():
        nn.init.zeros_(parameter)
    torch.manual_seed(1)
    fit_head("VS", head, inputs, targets, 0.1, config)
    torch.manual_seed(1)
    optimizer = torch.optim.Adam(plain.parameters(), lr=0.1, betas=(0.5, 0.999))
    for _ in range(3):
        order = torch.randperm(50)
        for batch in (order[:20], order[20:40], order[40:]):
            optimizer.zero_grad()
            logs = torch.log(torch.softmax(plain(inputs[batch]), dim=1))
            (-logs[torch.arange(len(batch)), targets[batch]].mean()).backward()
            optimizer.step()
    torch.testing.assert_close(head.linear.weight, plain.weight)
    torch.testing.assert_close(head(inputs), torch.log(torch.softmax(plain(inputs), dim=1)))


def test_each_head_has_its_epochs_and_batches_and_sees_inputs_as_they_are(experiment: Experiment) -> None:
    train: TrainSplit = experiment.train
    config = override(
        tiny(find_recipe("shapes", "reference-cub-gzsl").config),
        {"classifiers.epochs": 3, "classifiers.batch_size": 17, "classifiers.semantic_epochs": 2,
         "classifiers.semantic_batch_size": 10},
    )  # fmt: skip
    log = Listening()
    model = train_dcrgan(train, config, seed=0, log=log)
    synthetic = 6 * len(train.unseen)
    for over, count in (("ZSL", synthetic), ("GZSL", synthetic + len(train.features))):
        for space, epochs, batch in (("VS", 3, 17), ("SS", 2, 10), ("SRS", 2, 10)):
            name = f"{space} of {over}"
            steps = {int(state["step"]) for state in log.optimizers[name].state.values()}
            assert steps == {epochs * math.ceil(count / batch)}, name
    features = experiment.test.seen.features
    linear = model.gzsl.semantic.linear
    expected = (model.regressors.attributes(features) @ linear.weight.T + linear.bias).log_softmax(1)
    torch.testing.assert_close(model.gzsl.semantic(model.regressors.attributes(features)), expected)
