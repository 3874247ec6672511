"""Measure the speed of training beside a literal PyTorch form of the same equations, in one run.

    python benchmarks/train.py --json benchmark.json     # about three minutes on 2 cores
    python benchmarks/train.py --awa1                    # 5 epochs and an evaluation at AWA1's size, instead

critic      One update of D at the paper's CUB sizes: 2048-d features, 312 attributes, R = 20, 4096 hidden units, batch
            64.  Ours does what `train_gan` does: one pass of G makes the features of all five updates, the gradients of
            eq. 6 have a closed form, and Adam is fused.  The literal form uses autograd's gradient penalty and
            PyTorch's default Adam.
generator   One update of G, F1 and F2 (7000 hidden units; eq. 7 to 9).  Ours keeps the memory of its gradients and uses
            fused Adam.  The literal form uses autograd and the default Adam.  D is frozen in both.
evaluation  A whole GZSL evaluation: softmax heads in 2048, 312 and 20 dimensions on 7,057 real and 50 x 150 synthetic
            inputs, 200 classes, and the fused answers to 4,731 test inputs.  Ours is the same softmax regression by the
            schedule of `fit_head`.  The reference schedule has 25 epochs of batch 150 for VS, and 20 epochs of batch
            100 for SS and SRS.  The discriminants in closed form of CUB's recipe are measured, too.  All get the same
            standardised inputs of Gaussian classes.  H is the mean over the rounds.  docs/methods.md has the numbers
            for real features.

Before the timing, both forms make five updates of D and one of G from equal weights and equal draws, and must reach
equal weights.  A shared machine is noisy.  So both take turns in each round, each ratio is computed within a round, and
the report has the median over the rounds.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from zsl.cli import run_script
from zsl.common.files import write_json
from zsl.common.ranges import Count
from zsl.datasets.splits import Splits
from zsl.dcrgan.classifiers import ClassifierConfig
from zsl.dcrgan.dcrgan import train_dcrgan
from zsl.dcrgan.fitting import fit_head
from zsl.dcrgan.gan import GANConfig
from zsl.dcrgan.gradients import critic_gradients, gradient_memory
from zsl.dcrgan.heads import SoftmaxHead, discriminant
from zsl.dcrgan.losses import reconstruction_loss
from zsl.dcrgan.networks import Critic, Generator
from zsl.dcrgan.recipes import find_recipe
from zsl.dcrgan.regressors import Regressors
from zsl.features.class_statistics import class_means
from zsl.features.manifest import Manifest
from zsl.features.split import split_features
from zsl.features.table import FeatureTable
from zsl.scores.evaluate import evaluate
from zsl.scores.per_class import per_class_top1
from zsl.scores.summary import Scores, harmonic_mean
from zsl.training.log import Log

FEATURES, ATTRIBUTES, REPRESENTATIONS, HIDDEN, REGRESSOR_HIDDEN, BATCH = 2048, 312, 20, 4096, 7000, 64
CRITIC_STEPS, PENALTY, LR, BETAS = 5, 10.0, 1e-4, (0.5, 0.999)
SEEN, UNSEEN, TRAINVAL, PER_UNSEEN, TEST_SEEN, TEST_UNSEEN = 150, 50, 7057, 150, 1764, 2967  # CUB
# Dimensions, epochs, batch, and learning rate for standardised inputs, of each head of the reference schedule.
REFERENCE = {"VS": (2048, 25, 150, 1e-4), "SS": (312, 20, 100, 3e-4), "SRS": (20, 20, 100, 1e-2)}
TOLERANCE = 1e-2  # as a share of the weights' change: Adam takes whole steps even if a gradient is only rounding error
AWA1 = {"attributes": 85, "seen": 40, "unseen": 10, "trainval": 19_832, "test_seen": 4_958, "test_unseen": 5_685}


@dataclass(frozen=True, kw_only=True)
class Args:
    """Measure training on this machine's CPU."""

    rounds: Count = 7  # rounds of critic and generator
    evaluation_rounds: Count = 3  # rounds of evaluation, each with other data
    awa1: bool = False  # train and evaluate on random features of AWA1's size, and measure nothing else
    epochs: Count = 5  # epochs of --awa1; one is trainval / 64 steps of five critic updates and one generator update
    json: Path | None = None  # also write the figures to this file


def main(args: Args) -> None:
    if min(args.rounds, args.evaluation_rounds, args.epochs) < 1:
        raise ValueError("--rounds, --evaluation-rounds and --epochs are at least 1")
    report = measure_awa1(args) if args.awa1 else measure_gan(args) | measure_evaluation(args)
    if args.json:
        write_json(args.json, report | {"threads": torch.get_num_threads()})


def seconds(run: Callable[..., Any], *given: Any) -> float:
    started = time.perf_counter()
    run(*given)
    return time.perf_counter() - started


# --- critic and generator --------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The input of one update; the attributes are the first columns of the condition."""

    real: Tensor  # [B, D]
    condition: Tensor  # [B, A + R]
    noise: Tensor  # [B, Z]
    mix: Tensor  # [B, 1]


def draw_batch() -> Batch:
    return Batch(
        real=torch.rand(BATCH, FEATURES),
        condition=torch.randn(BATCH, ATTRIBUTES + REPRESENTATIONS) * 0.1,
        noise=torch.randn(BATCH, ATTRIBUTES),
        mix=torch.rand(BATCH, 1),
    )


class Ours:
    """The library's parts, put together as in `train_gan`."""

    def __init__(self) -> None:
        condition = ATTRIBUTES + REPRESENTATIONS
        self.generator = Generator(condition, ATTRIBUTES, HIDDEN, FEATURES)
        self.critic = Critic(FEATURES, condition, HIDDEN).requires_grad_(False)
        self.regressors = Regressors(FEATURES, REGRESSOR_HIDDEN, ATTRIBUTES, REPRESENTATIONS)
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), lr=LR, betas=BETAS, fused=True)
        learners = [*self.generator.parameters(), *self.regressors.parameters()]
        self.generator_optimizer = torch.optim.Adam(learners, lr=LR, betas=BETAS, fused=True)
        *of_critic, _ = self.critic.parameters()  # the last bias has no part in the loss
        self.weights = {"critic": of_critic, "generator": learners}

    def update_critic(self, batches: list[Batch]) -> None:
        """Make one update for each batch."""
        with torch.no_grad():
            conditions, noises = (torch.cat([getattr(b, name) for b in batches]) for name in ("condition", "noise"))
            fakes = self.generator(conditions, noises).split(BATCH)
        for b, fake in zip(batches, fakes, strict=True):
            critic_gradients(self.critic, b.real, fake, b.condition, b.mix, PENALTY)
            self.critic_optimizer.step()

    def update_generator(self, b: Batch) -> None:
        """Make one update of G, F1 and F2."""
        fake = self.generator(b.condition, b.noise)
        attributes, representations = b.condition.split([ATTRIBUTES, REPRESENTATIONS], dim=1)
        loss = (
            -self.critic(fake, b.condition).mean()
            + reconstruction_loss(self.regressors.attributes(fake), attributes)
            + reconstruction_loss(self.regressors.representations(fake), representations)
        )
        self.generator_optimizer.zero_grad()
        loss.backward()
        self.generator_optimizer.step()


class Literal:
    """The literal form of the equations, with the same weights at the start."""

    def __init__(self, ours: Ours) -> None:
        ours = copy.deepcopy(ours)
        self.generator = nn.Sequential(*ours.generator.layers, nn.ReLU())
        self.critic = nn.Sequential(ours.critic.hidden, nn.LeakyReLU(0.2), ours.critic.out).requires_grad_()
        self.to_attributes = ours.regressors.attributes.layers
        self.to_representations = ours.regressors.representations.layers
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), lr=LR, betas=BETAS)
        learners = [
            *self.generator.parameters(), *self.to_attributes.parameters(), *self.to_representations.parameters(),
        ]  # fmt: skip
        self.generator_optimizer = torch.optim.Adam(learners, lr=LR, betas=BETAS)
        *of_critic, _ = self.critic.parameters()
        self.weights = {"critic": of_critic, "generator": learners}

    def update_critic(self, batches: list[Batch]) -> None:
        """Make one update for each batch."""
        for b in batches:
            with torch.no_grad():
                fake = self.generator(torch.cat([b.condition, b.noise], dim=1))
            x = (b.mix * b.real + (1 - b.mix) * fake).requires_grad_()
            score = self.critic(torch.cat([x, b.condition], dim=1))
            (slope,) = torch.autograd.grad(score, x, torch.ones_like(score), create_graph=True)
            loss = (
                self.critic(torch.cat([fake, b.condition], dim=1)).mean()
                - self.critic(torch.cat([b.real, b.condition], dim=1)).mean()
                + PENALTY * (slope.norm(dim=1) - 1).square().mean()
            )
            self.critic_optimizer.zero_grad()
            loss.backward()
            self.critic_optimizer.step()

    def update_generator(self, b: Batch) -> None:
        """Make one update of G, F1 and F2."""
        self.critic.requires_grad_(False)
        fake = self.generator(torch.cat([b.condition, b.noise], dim=1))
        loss = (
            -self.critic(torch.cat([fake, b.condition], dim=1)).mean()
            + (self.to_attributes(fake) - b.condition[:, :ATTRIBUTES]).abs().mean()
            + (self.to_representations(fake) - b.condition[:, ATTRIBUTES:]).abs().mean()
        )
        self.generator_optimizer.zero_grad()
        loss.backward()
        self.generator_optimizer.step()
        self.critic.requires_grad_(True)


def measure_gan(args: Args) -> dict[str, Any]:
    """Time both forms in rounds of five critic updates and one generator update on the same batches."""
    torch.manual_seed(0)
    ours = Ours()
    literal = Literal(ours)
    report: dict[str, Any] = {"rounds": args.rounds}
    times: dict[str, list[tuple[float, float]]] = {"critic": [], "generator": []}
    with gradient_memory(ours.generator, ours.regressors):
        report |= check_equal_steps(ours, literal)
        for number in range(args.rounds):
            batches, batch = [draw_batch() for _ in range(CRITIC_STEPS)], draw_batch()
            pair = (literal, ours) if number % 2 else (ours, literal)  # each round begins with the other form
            of_critic = {type(way): seconds(way.update_critic, batches) / CRITIC_STEPS for way in pair}
            of_generator = {type(way): seconds(way.update_generator, batch) for way in pair}
            times["critic"].append((of_critic[Literal], of_critic[Ours]))
            times["generator"].append((of_generator[Literal], of_generator[Ours]))
    print(f"| one update, {args.rounds} rounds, {torch.get_num_threads()} threads | literal ms | ours ms | ratio |")
    print("|---|---|---|---|")
    for name, pairs in times.items():
        report |= ratio_of(name, pairs)
        print(
            f"| {name} | {1e3 * report[f'{name}_literal_seconds']:.0f} | {1e3 * report[f'{name}_seconds']:.0f} ", end=""
        )
        print(f"| {report[f'{name}_speedup']:.2f} |")
    return report


def ratio_of(name: str, pairs: list[tuple[float, float]]) -> dict[str, float]:
    """Compute the median ratio and seconds from the seconds of both ways in each round."""
    return {
        f"{name}_speedup": median(theirs / own for theirs, own in pairs),
        f"{name}_literal_seconds": median(theirs for theirs, _ in pairs),
        f"{name}_seconds": median(own for _, own in pairs),
    }


def check_equal_steps(ours: Ours, literal: Literal) -> dict[str, float]:
    """Check that one step of both forms leads to the same weights.  The step is a warm-up, too.

    Raises:
        ValueError: the weights differ.
    """
    start = {name: [weight.detach().clone() for weight in weights] for name, weights in literal.weights.items()}
    batches, batch = [draw_batch() for _ in range(CRITIC_STEPS)], draw_batch()
    for way in (ours, literal):
        way.update_critic(batches)
        way.update_generator(batch)
    differences = {
        f"{name}_difference": max(
            ((one - other).norm() / (other - before).norm()).item()
            for one, other, before in zip(weights, literal.weights[name], start[name], strict=True)
        )
        for name, weights in ours.weights.items()
    }
    print(", ".join(f"{name}: {value:.1e} of a step" for name, value in differences.items()))
    if max(differences.values()) > TOLERANCE:
        raise ValueError(
            f"one step by both ways leads to different weights: {differences}, at most {TOLERANCE} is rounding"
        )
    return differences


# --- evaluation ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Inputs of three spaces for one GZSL evaluation; the first 150 classes are seen."""

    train: dict[str, Tensor]  # standardised inputs: real seen ones, then synthetic unseen ones
    train_labels: Tensor
    test: dict[str, Tensor]  # seen inputs, then unseen ones
    test_labels: Tensor
    yardsticks: dict[str, Tensor]  # the real seen inputs before standardising


def draw_problem(seed: int) -> Problem:
    """Draw Gaussian classes around points of 20 dimensions; synthetic inputs have another centre than real ones."""
    torch.manual_seed(seed)
    train_labels = torch.cat([torch.arange(TRAINVAL) % SEEN, SEEN + torch.arange(UNSEEN).repeat_interleave(PER_UNSEEN)])
    test_labels = torch.cat([torch.arange(TEST_SEEN) % SEEN, SEEN + torch.arange(TEST_UNSEEN) % UNSEEN])
    centres = torch.randn(SEEN + UNSEEN, REPRESENTATIONS)
    estimates = centres.clone()
    estimates[SEEN:] += 0.5 * torch.randn(UNSEEN, REPRESENTATIONS)
    train, test, yardsticks = {}, {}, {}
    for space, (dim, *_) in REFERENCE.items():
        view = torch.randn(REPRESENTATIONS, dim) / REPRESENTATIONS**0.5
        noise = 0.7 * (dim / REPRESENTATIONS) ** 0.5

        def inputs(of: Tensor, labels: Tensor, view: Tensor = view, noise: float = noise) -> Tensor:
            return (of[labels] @ view) + noise * torch.randn(len(labels), view.shape[1])

        train_inputs = inputs(estimates, train_labels)
        yardsticks[space] = train_inputs[:TRAINVAL]
        train[space] = SoftmaxHead(yardsticks[space], 1).standardise(train_inputs)
        test[space] = inputs(centres, test_labels)
    return Problem(train=train, train_labels=train_labels, test=test, test_labels=test_labels, yardsticks=yardsticks)


def evaluate_softmax(problem: Problem) -> float:
    """H of heads that are fitted by gradient, as in `train_classifiers`."""
    heads, config = {}, ClassifierConfig()
    for space, lr in zip(REFERENCE, (config.lr_vs, config.lr_ss, config.lr_srs), strict=True):
        head = SoftmaxHead(problem.yardsticks[space], SEEN + UNSEEN)
        heads[space] = fit_head(space, head, problem.train[space], problem.train_labels, lr, config, log=Quiet())
    return harmonic_of(heads, problem)


def evaluate_discriminants(problem: Problem) -> float:
    """H of heads in closed form, as in the recipe of CUB."""
    heads = {}
    for space, shrinkage in zip(REFERENCE, ClassifierConfig().shrinkage, strict=True):
        standardise = SoftmaxHead(problem.yardsticks[space], SEEN + UNSEEN).standardise
        inputs, labels = problem.train[space], problem.train_labels
        means = class_means(inputs, labels, SEEN + UNSEEN)
        real = labels < SEEN
        weight, bias = discriminant(means, inputs[real] - means[labels[real]], shrinkage)
        heads[space] = nn.Sequential(Standardise(standardise), SoftmaxHead.from_weights(weight, bias))
    return harmonic_of(heads, problem)


class Quiet(Log):
    """A log without a progress bar, because the bar would take time."""

    def steps(self, stage: str, count: int, modules: Any, optimizers: Any) -> Iterator[int]:
        """Yield the numbers of all steps."""
        yield from range(count)


class Standardise(nn.Module):
    """A module that brings test inputs to the units of the training inputs."""

    def __init__(self, standardise: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.forward = standardise


def evaluate_reference(problem: Problem) -> float:
    """H of heads trained in plain loops over minibatches."""
    heads: dict[str, nn.Module] = {}
    for space, (_, epochs, batch_size, lr) in REFERENCE.items():
        inputs, labels = problem.train[space], problem.train_labels
        head = SoftmaxHead(problem.yardsticks[space], SEEN + UNSEEN)
        linear, criterion = nn.Sequential(head.linear, nn.LogSoftmax(dim=1)), nn.NLLLoss()
        optimizer = torch.optim.Adam(linear.parameters(), lr=lr, betas=BETAS)
        for _ in range(epochs):
            order = torch.randperm(len(inputs))
            for start in range(0, len(inputs), batch_size):
                batch = order[start : start + batch_size]
                optimizer.zero_grad()
                criterion(linear(inputs[batch]), labels[batch]).backward()
                optimizer.step()
        heads[space] = head
    return harmonic_of(heads, problem)


@torch.no_grad()
def harmonic_of(heads: Mapping[str, nn.Module], problem: Problem) -> float:
    config = ClassifierConfig()
    weights = {"VS": config.weight_vs, "SS": config.weight_ss, "SRS": config.weight_srs}
    scores = torch.stack([weights[space] * head(problem.test[space]) for space, head in heads.items()]).sum(0)
    right = per_class_top1(scores.argmax(dim=1), problem.test_labels, torch.arange(SEEN + UNSEEN))
    return harmonic_mean(right[:SEEN].mean().item(), right[SEEN:].mean().item())


def measure_evaluation(args: Args) -> dict[str, Any]:
    """Time all ways in rounds; each round has other data."""
    ways = {"literal": evaluate_reference, "evaluation": evaluate_softmax, "discriminants": evaluate_discriminants}
    took: dict[str, list[float]] = {name: [] for name in ways}
    harmonics: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(args.evaluation_rounds):
        problem = draw_problem(number)
        for name in sorted(ways, reverse=bool(number % 2)):
            started = time.perf_counter()
            harmonics[name].append(ways[name](problem))
            took[name].append(time.perf_counter() - started)
    report: dict[str, Any] = {f"harmonic_{name}": fmean(values) for name, values in harmonics.items()}
    for name in ("evaluation", "discriminants"):
        report |= ratio_of(name, list(zip(took["literal"], took[name], strict=True)))
        print(f"{name}: {report[f'{name}_literal_seconds']:.1f} s by the reference schedule, ", end="")
        print(f"{report[f'{name}_seconds']:.1f} s ours, ratio {report[f'{name}_speedup']:.2f}; ", end="")
        print(f"H {100 * report['harmonic_literal']:.1f} and {100 * report[f'harmonic_{name}']:.1f}")
    return report


# --- AWA1's size -----------------------------------------------------------------------------------------------------


class Stopwatch(Log):
    """A log that measures the seconds of every GAN epoch."""

    def __init__(self, steps_per_epoch: int) -> None:
        self.steps_per_epoch = steps_per_epoch
        self.epochs: list[float] = []

    def steps(
        self, stage: str, count: int, modules: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizer]
    ) -> Iterator[int]:
        """Yield the numbers of all steps, and note the time after each epoch."""
        started = time.perf_counter()
        for step in super().steps(stage, count, modules, optimizers):
            yield step
            if stage == "DCR-GAN" and (step + 1) % self.steps_per_epoch == 0:
                self.epochs.append(time.perf_counter() - started)
                started = time.perf_counter()
                print(
                    f"epoch {len(self.epochs)}: {self.epochs[-1]:.1f} s, peak memory {peak_mib():.0f} MiB", flush=True
                )


def measure_awa1(args: Args) -> dict[str, Any]:
    """Time the whole method on random features of AWA1's number and size."""
    table, splits = awa1_sized()
    table_mib = table.features.nbytes / 2**20
    train, test = split_features(table, splits)
    del table
    watch = Stopwatch(len(train.features) // BATCH)
    config = find_recipe("awa1").config
    config = replace(config, gan=replace(config.gan, steps=args.epochs * watch.steps_per_epoch, batch_size=BATCH))
    print(f"{splits.describe()}; an epoch is {watch.steps_per_epoch} steps of {GANConfig().critic_steps} + 1 updates")
    scores: list[Scores] = []
    total = seconds(lambda: scores.append(evaluate(train_dcrgan(train, config, seed=0, log=watch), test)))
    print(f"{median(watch.epochs):.1f} s an epoch, {total:.0f} s in all; H {100 * scores[0].harmonic:.1f}; ", end="")
    print(f"peak memory {peak_mib():.0f} MiB, the table has {table_mib:.0f} MiB")
    return {
        "awa1_seconds_per_epoch": median(watch.epochs),
        "awa1_epochs": len(watch.epochs),
        "awa1_seconds": total,
        "awa1_peak_mib": peak_mib(),
        "awa1_table_mib": table_mib,
        "awa1_harmonic": scores[0].harmonic,
    }


def awa1_sized() -> tuple[FeatureTable, Splits]:
    """Draw Gaussian classes of AWA1's size, whose means are linear in random attributes."""
    rng = np.random.default_rng(0)
    seen, unseen, parts = AWA1["seen"], AWA1["unseen"], ("trainval", "test_seen", "test_unseen")
    classes = {"trainval": (0, seen), "test_seen": (0, seen), "test_unseen": (seen, seen + unseen)}
    labels = np.concatenate([low + np.arange(AWA1[part]) % (high - low) for part, (low, high) in classes.items()])
    attributes = rng.random((seen + unseen, AWA1["attributes"]), dtype=np.float32)
    means = attributes @ rng.standard_normal((AWA1["attributes"], FEATURES), dtype=np.float32)
    features = rng.standard_normal((len(labels), FEATURES), dtype=np.float32)
    features *= 2
    features += means[labels]
    rows = np.arange(len(labels))
    trainval, test_seen, test_unseen = np.split(rows, np.cumsum([AWA1[part] for part in parts])[:-1])
    splits = Splits(
        class_names=tuple(f"class {i}" for i in range(seen + unseen)),
        attributes=attributes, seen=np.arange(seen), unseen=np.arange(seen, seen + unseen),
        trainval_loc=trainval, test_seen_loc=test_seen, test_unseen_loc=test_unseen, verdict="random",
    )  # fmt: skip
    manifest = Manifest.in_memory("awa1", count=len(features), dim=FEATURES)
    return FeatureTable(features=features, labels=labels, rows=rows, manifest=manifest), splits


def peak_mib() -> float:
    """Peak memory of this program in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    run_script(main, Args)
