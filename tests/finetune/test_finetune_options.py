"""Each option of fine-tuning does what its line says, against a plain calculation; an impossible one is refused."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from backbones import Transform
from backbones.augment import augment, mix
from backbones.finetune import NORMS, Finetuner, distance_to, frozen_parameters, make_optimizer
from backbones.finetune_config import AugmentConfig, FinetuneConfig
from zsl.common.config import override
from zsl.dcrgan.recipes import find_recipe
from zsl.dcrgan.variants import form_of
from zsl.finetune.data import TuningData
from zsl.finetune.held_out import HeldOut
from zsl.finetune.train import Training, check_possible, finetune
from zsl.finetune.verdict import JUDGE, judge_config
from zsl.training.checkpoint import load_checkpoint, save_checkpoint

MODEL = "test_resnet"
INPUT = Transform(size=(32, 32), mean=(0.5,) * 3, std=(0.5,) * 3, interpolation="bilinear")
# Steps that are the gradient itself, of photos that are always the same.
STILL = AugmentConfig(scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0)
PLAIN = FinetuneConfig(
    optimizer="momentum", lr=0.1, lr_head=0.1, layer_decay=1.0, clip=0.0, weight_decay=0.0, warmup=0.0, batch_size=8,
    probe_steps=0, frozen_stages=0, label_smoothing=0.0, epochs=2, augment=STILL,
)  # fmt: skip
CLASSES, PER_CLASS, ATTRIBUTES = 4, 6, 5


@pytest.fixture(scope="module")
def model() -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return timm.create_model(MODEL, pretrained=False)


@pytest.fixture(scope="module")
def data() -> TuningData:
    """Photos of noise, each class a little brighter than the one before."""
    source = torch.Generator().manual_seed(0)
    labels = torch.arange(CLASSES).repeat_interleave(PER_CLASS)
    noise = torch.randint(0, 128, (len(labels), 3, 32, 32), generator=source)
    images = (noise + 30 * labels[:, None, None, None]).to(torch.uint8)
    return TuningData(
        rows=torch.arange(len(labels)), labels=labels, images=images,
        position=torch.arange(len(labels)), attributes=torch.rand(CLASSES, ATTRIBUTES, generator=source),
    )  # fmt: skip


def start(model: Any, data: TuningData, accelerator: Accelerator, **changes: Any) -> Training:
    return Training.of(model, data, INPUT, replace(PLAIN, **changes), accelerator, hold_out=False)


def weights_of(run: Training) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in run.learner.tuner.encoder.state_dict().items()}


def step_of(run: Training) -> dict[str, Tensor]:
    """What one update adds to each parameter of the encoder."""
    before = weights_of(run)
    run.advance()
    return {name: p.detach() - before[name] for name, p in run.learner.tuner.encoder.named_parameters()}


# --- losses ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("smoothing", "weight"), [(0.0, 0.0), (0.2, 0.0), (0.0, 0.7), (0.1, 0.3)])
def test_the_loss_is_a_sum_over_images_of_smoothed_entropy_and_squared_errors_of_attributes(
    model: Any, data: TuningData, smoothing: float, weight: float
) -> None:
    encoder = copy.deepcopy(model)
    encoder.reset_classifier(0)
    config = replace(PLAIN, label_smoothing=smoothing, attribute_loss=weight)
    tuner = Finetuner(encoder, encoder.num_features, data.attributes, config)
    features = torch.randn(3, encoder.num_features, generator=torch.Generator().manual_seed(1))
    labels = [2, 0, 3]
    loss, logits = tuner.loss(features, torch.eye(CLASSES)[labels])
    centred = data.attributes - data.attributes.mean(0)
    centred /= sum(row.norm() for row in centred) / CLASSES
    expected = 0.0
    for image, label in enumerate(labels):
        surprise = [-math.log(p) for p in logits[image].softmax(0).tolist()]
        expected += (1 - smoothing) * surprise[label] + smoothing * sum(surprise) / CLASSES
        if tuner.regressor is not None:
            read = features[image] @ tuner.regressor.weight.T + tuner.regressor.bias
            expected += weight * sum((read[k] - centred[label, k]).item() ** 2 for k in range(ATTRIBUTES))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_l2sp_pulls_each_weight_back_by_its_distance(model: Any, data: TuningData, accelerator: Accelerator) -> None:
    steps = []
    for l2sp in (0.0, 0.5):
        run = start(model, data, accelerator, l2sp=l2sp, frozen_stages=1)
        origin = {name: tensor + 0.25 for name, tensor in run.learner.origin.items()}
        run = replace(run, learner=replace(run.learner, origin=origin))
        free = [p for p in run.learner.tuner.encoder.parameters() if p.requires_grad]
        distance = distance_to(run.learner.tuner.encoder, origin).item()
        assert distance == pytest.approx(sum(p.numel() for p in free) * 0.25**2 / 2, rel=1e-4)
        steps.append(step_of(run))
    for name, p in run.learner.tuner.encoder.named_parameters():
        pull = 0.1 * 0.5 * 0.25 if p.requires_grad else 0.0  # lr · l2sp · distance, towards the origin
        torch.testing.assert_close(steps[1][name] - steps[0][name], torch.full_like(p, pull), rtol=1e-3, atol=1e-6)


def test_distillation_pulls_the_direction_of_features_towards_the_frozen_ones(
    model: Any, data: TuningData, accelerator: Accelerator
) -> None:
    images, targets = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(2)), torch.eye(CLASSES)[[0] * 5]
    tuners = {weight: start(model, data, accelerator, distill=weight).learner.tuner for weight in (0.0, 0.7)}
    assert tuners[0.0].state_dict().keys() == tuners[0.7].state_dict().keys()  # the frozen copy is no part of it
    losses = {}
    for weight, tuner in tuners.items():
        tuner.eval()
        assert torch.equal(tuner(images, targets)[0], tuner.loss(tuner.encoder(images), targets)[0])  # no distance yet
        with torch.no_grad():
            before = tuner.encoder(images)
            for p in tuner.encoder.parameters():
                p.mul_(1.1)
            after = tuner.encoder(images)
            losses[weight] = tuner(images, targets)[0] - tuner.loss(after, targets)[0]
    expected = sum(2 - 2 * float(a @ b / (a.norm() * b.norm())) for a, b in zip(before, after, strict=True))
    assert losses[0.0] == 0
    assert losses[0.7].item() == pytest.approx(0.7 * expected, rel=1e-3)
    tuners[0.7](images, targets)[0].backward()
    assert all(p.grad is None for p in tuners[0.7]._frozen[0].parameters())


# --- steps -----------------------------------------------------------------------------------------------------------


def test_clipping_bounds_the_norm_of_a_step(model: Any, data: TuningData, accelerator: Accelerator) -> None:
    def length(clip: float) -> float:
        run = start(model, data, accelerator, clip=clip)
        before = [p.detach().clone() for p in run.learner.tuner.parameters()]
        run.advance()
        pairs = zip(run.learner.tuner.parameters(), before, strict=True)
        return math.sqrt(sum((now - was).square().sum().item() for now, was in pairs))

    free = length(0.0)
    assert length(0.01) == pytest.approx(0.1 * 0.01, rel=1e-3) != pytest.approx(free, rel=0.1)
    assert length(100 * free) == pytest.approx(free)


def test_checkpointed_gradients_are_the_same_gradients(model: Any, data: TuningData, accelerator: Accelerator) -> None:
    kept, again = (step_of(start(model, data, accelerator, checkpoint_gradients=on)) for on in (False, True))
    assert all(torch.equal(kept[name], again[name]) for name in kept)
    run = start(model, data, accelerator, checkpoint_gradients=True)
    assert run.learner.tuner.encoder.grad_checkpointing


def test_batch_norms_follow_the_batches_where_they_are_free(
    model: Any, data: TuningData, accelerator: Accelerator
) -> None:
    def moved(**changes: Any) -> set[str]:
        run = start(model, data, accelerator, **changes)
        before = weights_of(run)
        run.advance()
        return {
            name for name, now in weights_of(run).items() if "running" in name and not torch.equal(now, before[name])
        }

    every = {f"{name}.running_mean" for name, module in model.named_modules() if isinstance(module, NORMS)}
    assert moved(freeze_norm=True) == set()
    assert {name for name in moved(freeze_norm=False) if name.endswith("mean")} == every
    free = {name for name in moved(freeze_norm=False, frozen_stages=2) if name.endswith("mean")}
    frozen = {name for name in every if name.startswith(("bn1", "conv1", "layer1"))}
    assert frozen
    assert free == every - frozen


@pytest.mark.parametrize(
    ("name", "free"),
    [
        (MODEL, {"layer2", "layer3", "layer4"}),
        ("tf_efficientnet_lite0", {f"blocks.{stage}" for stage in range(3, 7)} | {"conv_head", "bn2"}),
        ("test_vit", {f"blocks.{block}" for block in range(2, 6)} | {"norm"}),
    ],
)
def test_without_a_number_of_frozen_stages_the_later_half_of_the_layers_learns(name: str, free: set[str]) -> None:
    encoder = timm.create_model(name, pretrained=False, num_classes=0)
    frozen = frozen_parameters(encoder, FinetuneConfig().frozen_stages)
    learning = {name for name, p in encoder.named_parameters() if all(p is not other for other in frozen)}
    places = {".".join(name.split(".")[: 2 if name.startswith("blocks") else 1]) for name in learning}
    assert places == free


def test_weight_decay_shrinks_matrices_and_kernels_of_the_encoder_alone(model: Any, data: TuningData) -> None:
    encoder = copy.deepcopy(model)
    encoder.reset_classifier(0)
    config = replace(PLAIN, optimizer="adamw", weight_decay=0.3, lr=0.5)
    tuner = Finetuner(encoder, encoder.num_features, data.attributes, config)
    before = {name: p.detach().clone() for name, p in tuner.named_parameters()}
    optimizer = make_optimizer(tuner, config)
    for p in tuner.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for name, p in tuner.named_parameters():
        shrunk = name.startswith("encoder.") and p.ndim > 1
        torch.testing.assert_close(p.detach(), before[name] * (1 - 0.5 * 0.3 if shrunk else 1), msg=name)


def test_the_step_size_rises_and_falls_along_a_cosine(model: Any, data: TuningData, accelerator: Accelerator) -> None:
    run = start(model, data, accelerator, warmup=0.25, epochs=4)
    total = 4 * len(data.rows) // 8
    for step in range(total):
        run.advance()
        rise = step / (total // 4)
        expected = 0.1 * (rise if rise < 1 else (1 + math.cos(math.pi * step / total)) / 2)
        assert [group["lr"] for group in run.learner.optimizer.param_groups] == pytest.approx(
            [expected] * len(run.learner.optimizer.param_groups), abs=1e-9
        )


# --- what is kept ----------------------------------------------------------------------------------------------------


def test_the_moving_average_is_what_is_kept(model: Any, data: TuningData, accelerator: Accelerator) -> None:
    run = start(model, data, accelerator, ema=0.6)
    average = weights_of(run)
    for update in range(1, run.batches.steps_an_epoch + 1):
        run.advance()
        # Timm's warm-up: the first updates are not held back by where training started.
        decay = min(0.6, 1 - update ** -(2 / 3)) if update > 1 else 0.0
        now = weights_of(run)
        average = {name: decay * average[name] + (1 - decay) * now[name] for name in now}
    for name in dict(run.learner.tuner.encoder.named_parameters()):
        torch.testing.assert_close(run.best.tensors[name], average[name], msg=name)
    assert not all(torch.equal(run.best.tensors[name], p) for name, p in run.learner.tuner.encoder.named_parameters())


def test_training_ends_when_the_held_out_loss_no_longer_falls_and_keeps_the_best_epoch(
    model: Any, data: TuningData, accelerator: Accelerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = [3.0, 2.0, 2.5, 2.1, 1.0]
    after: list[dict[str, Tensor]] = []

    def scores(self: HeldOut, tuner: Finetuner, accelerator: Accelerator) -> dict[str, float]:
        after.append({name: tensor.detach().clone() for name, tensor in tuner.encoder.state_dict().items()})
        return {"held_out_loss": losses[len(after) - 1]}

    monkeypatch.setattr(HeldOut, "scores", scores)
    config = replace(PLAIN, epochs=5, patience=2)
    made = finetune(model, data, INPUT, config, accelerator, tmp_path, key="")
    assert [epoch["held_out_loss"] for epoch in made.progress.epochs] == losses[:4]
    assert made.progress.best_epoch == 2
    assert all(torch.equal(made.state[name], after[1][name]) for name in made.state)
    assert not all(torch.equal(after[1][name], after[3][name]) for name in made.state)


def test_the_scale_of_fp16_gradients_goes_on_with_its_run_and_starts_anew_with_the_next(
    model: Any, data: TuningData, accelerator: Accelerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = GradScaler("cpu").state_dict()
    monkeypatch.setattr(accelerator, "scaler", GradScaler("cpu"))
    path = tmp_path / "checkpoint.safetensors"
    first = start(model, data, accelerator)
    first.advance()
    grown = fresh | {"scale": 8.0, "_growth_tracker": 5}
    accelerator.scaler.load_state_dict(grown)
    save_checkpoint(path, first.parts, run="key", step=1)
    again = start(model, data, accelerator)
    assert accelerator.scaler.state_dict() == fresh
    load_checkpoint(path, "key").restore(again.parts)
    assert accelerator.scaler.state_dict() == grown
    assert again.progress == first.progress


# --- views -----------------------------------------------------------------------------------------------------------


def views(config: AugmentConfig, data: TuningData, size: tuple[int, int] = (32, 32)) -> Tensor:
    return augment(data.images, data.rows, size, config, seed=0, epoch=0)


def test_erasing_covers_a_rectangle_with_the_mean_colour(data: TuningData) -> None:
    for image, view in zip(data.images, views(replace(STILL, erase=1.0), data), strict=True):
        covered = (view != image).any(0)
        rows, columns = covered.any(1).nonzero().flatten(), covered.any(0).nonzero().flatten()
        rectangle = view[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert rectangle[0].numel() > 9
        mean = image.float().mean((1, 2))
        assert ((rectangle.float() - mean[:, None, None]).abs() <= 1).all()
        assert rectangle[0].numel() >= covered.sum()


def test_randaugment_changes_most_photos_and_keeps_their_shape(data: TuningData) -> None:
    changed = views(replace(STILL, randaugment="rand-m9-n2"), data)
    assert changed.shape == data.images.shape
    assert (changed != data.images).flatten(1).any(1).float().mean() > 0.7


def test_a_view_may_be_wider_than_high(data: TuningData) -> None:
    assert views(STILL, data, (24, 40)).shape == (len(data.rows), 3, 24, 40)


def test_cutmix_targets_are_shares_of_pixels() -> None:
    images = torch.eye(4)[:, :3, None, None].expand(4, 3, 16, 16).contiguous()
    mixed, targets = mix(images, torch.arange(4), 4, AugmentConfig(cutmix=1.0), seed=(0, 1))
    assert set(mixed.unique().tolist()) == {0.0, 1.0}  # pixels are cut, not blended
    assert 0 < (mixed != images).any(1).float().mean() < 1
    assert torch.allclose(targets[:, :3], mixed.mean((2, 3)), atol=1e-6)


def test_orders_views_and_mixtures_draw_from_seeds_of_their_own(
    model: Any, data: TuningData, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    generator = np.random.default_rng

    def noted(seed: Any) -> Any:
        drawn.append(seed if isinstance(seed, tuple) else (seed,))
        return generator(seed)

    monkeypatch.setattr(np.random, "default_rng", noted)
    run = start(model, data, accelerator, augment=replace(STILL, mixup=0.2))
    run.advance()
    stripped = [seed[: len(seed) - trailing_zeros(seed)] for seed in drawn]  # NumPy ignores zeros at the end
    assert len(set(stripped)) == len(stripped) > 9


def trailing_zeros(seed: tuple[int, ...]) -> int:
    return next((place for place, value in enumerate(reversed(seed)) if value), len(seed))


# --- the judge -------------------------------------------------------------------------------------------------------


def test_a_judge_is_short_and_starts_its_generator_in_closed_form() -> None:
    config = override(find_recipe("any", form=form_of(JUDGE)).config, {"gan.steps": 900})
    judge = judge_config(config)
    assert judge.gan.shortcut_ridge == config.gan.shortcut_ridge
    assert judge.gan.shortcut_ridge is not None
    assert judge.gan.steps == 100
    assert judge.classifiers == config.classifiers  # a γ is no part of them: folds choose it


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accumulation": 0}, "accumulation is 0; it is at least 1"),
        ({"patience": 0}, "patience is 0; it is at least 1"),
        ({"epochs": 0}, "epochs is 0; it is at least 1"),
        ({"lr": 0.0}, "lr is 0.0; it is above 0"),
        ({"frozen_stages": -1}, "frozen_stages is -1; it is at least 0"),
        ({"ema": 1.0}, "ema is 1.0; it is at least 0 and below 1"),
        ({"warmup": float("nan")}, "warmup is nan; it is at least 0 and below 1"),
        ({"checkpoint_gradients": True, "freeze_norm": False}, "count each batch twice"),
    ],
)
def test_an_impossible_configuration_is_refused_in_words(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FinetuneConfig(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"randaugment": "foo"}, "randaugment is 'foo'; it is timm's notation"),
        ({"randaugment": "rand-m9-inc"}, "randaugment is 'rand-m9-inc'; it is timm's notation"),
        ({"randaugment": "rand-m9 -n2"}, "randaugment is 'rand-m9 -n2'; it is timm's notation"),
        ({"scale": (0.5, 1.5)}, r"scale is \(0.5, 1.5\); it is above 0 and at most 1"),
        ({"ratio": (2.0, 1.0)}, "ratio is 2.0, 1.0"),
        ({"erase": 2.0}, "erase is 2.0; it is at least 0 and at most 1"),
        ({"mixup": -1.0}, "mixup is -1.0; it is at least 0"),
    ],
)
def test_an_impossible_augmentation_is_refused_in_words(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AugmentConfig(**changes)


@pytest.mark.parametrize(
    ("name", "changes", "processes", "message"),
    [
        (MODEL, {"batch_size": 8}, 3, "8 images cannot be dealt to 3 processes x accumulation 1"),
        (MODEL, {"batch_size": 6, "augment": AugmentConfig(mixup=0.2)}, 2, "parts of an even number"),
        (MODEL, {"frozen_stages": 99}, 1, "--config.frozen-stages is 99, the encoder has"),
        (
            MODEL,
            {"optimizer": "adamm"},
            1,
            r"--config.optimizer adamm: timm cannot make it here \(.*; take another one",
        ),
        (MODEL, {"optimizer": "lookahead_adahessian"}, 1, "--config.optimizer lookahead_adahessian needs second"),
        ("dla34", {"checkpoint_gradients": True}, 1, "checkpoint_gradients: DLA does not support it"),
    ],
)
def test_what_the_model_or_the_processes_cannot_do_is_refused_before_a_photo_is_read(
    name: str, changes: dict[str, Any], processes: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_possible(timm.create_model(name, pretrained=False), 8, replace(PLAIN, **changes), processes)
