"""Experiments: a method on a feature table, from a selection or a recipe to `results.json`, by either protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from zsl.common.files import write_json
from zsl.common.launch import sole_launch
from zsl.common.records import content_of, read_record
from zsl.datasets.splits import ATTRIBUTES, Splits
from zsl.dcrgan.recipes import Recipe
from zsl.dcrgan.saved import save_facts
from zsl.experiments.calibration import Gamma, settle_gamma
from zsl.experiments.methods import version_of
from zsl.experiments.published import LABEL, Published, train_published
from zsl.experiments.reads import ACCESS_FILE, note_reads, record_to, rows_read
from zsl.experiments.results import HONEST, REMEDY, GammaFacts, Results, RunFacts, SeedScores, summarise
from zsl.experiments.run import Schedule, check_gamma, check_seeds, claim_folder, finish_seeds, run_seeds, write_results
from zsl.experiments.selection import Selection, read_selection
from zsl.experiments.trainer import Folds, Trainer
from zsl.features.facts import describe_data
from zsl.features.load import load_calibration
from zsl.features.side_information import keep_side_information
from zsl.features.split import TestSplit, TrainSplit
from zsl.features.table import FeatureTable
from zsl.scores.details import DETAILS_FILE, save_details
from zsl.scores.evaluate import Note
from zsl.scores.model import Calibrated
from zsl.training.journal import Journal
from zsl.training.log import Log
from zsl.training.method import Method
from zsl.training.trackers import LogWith

if TYPE_CHECKING:
    from accelerate import Accelerator

PUBLISHED_FILE = "published.json"
Protocol = Literal["honest", "published"]


def check_protocol(method: Method, protocol: Protocol, every: int | None) -> None:
    """Check that the method has the looks at test rows that the protocol wants.

    every: GAN steps between two looks; None: not asked for.

    Raises:
        ValueError: `every` is set with the honest protocol, or the method has no looks for the published one.
    """
    if every is not None and protocol == "honest":
        raise ValueError(f"--every {every} is for --protocol published; the honest one has no looks at test rows")
    if protocol == "published" and method.looks is None:
        raise ValueError(
            f"--protocol published looks at the test rows between steps of a GAN; {method.name} has none: leave "
            "--protocol out"
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Experiment:
    """The data of an experiment: feature table, splits and seeds."""

    table: FeatureTable
    splits: Splits
    train: TrainSplit
    test: TestSplit
    seeds: Sequence[int]
    accelerator: Accelerator
    validation: Folds = field(default_factory=dict)  # folds that choose γ if there are no calibration folds
    log_with: LogWith | None = None  # also shows the scalars of metrics.jsonl elsewhere
    profile: bool = False  # whether each seed's folder gets a table of the time of its stages, and a trace
    trainer: Trainer | None = None  # shares trained parts, and may train in several processes; None: one for each run

    @cached_property
    def calibration(self) -> Folds:
        """Calibration folds of the trainval rows; none where they may choose nothing."""
        return load_calibration(self.table, self.splits, self.accelerator.device)

    def run(
        self,
        method: Method,
        folder: Path,
        *,
        recipe: Recipe | None = None,
        gamma: Gamma = "auto",
        selection: Path | None = None,
        protocol: Protocol = "honest",
        every: int | None = None,
    ) -> Results:
        """Run the method with its configuration, or with the configuration of the file `selection`.

        recipe: the recipe behind the configuration; its γ is taken where it fits.

        Raises:
            ValueError: as in `check_protocol`; or an error of `honest` or `published`.
        """
        check_protocol(method, protocol, every)
        choice, config = None, method.configured(method.config)
        if selection is not None:
            choice = read_selection(selection, method, self.table.manifest, self.train.attributes)
            config = method.configured(choice.config(method))
        more: dict[str, Any] = {"recipe": recipe, "gamma": gamma, "selection": choice}
        with sole_launch(folder, self.accelerator):
            if protocol == "published":
                return self.published(method, config, folder, every=every, **more)
            return self.honest(method, config, folder, **more)

    def honest(
        self,
        method: Method,
        config: Any,
        folder: Path,
        *,
        recipe: Recipe | None = None,
        gamma: Gamma = "auto",
        selection: Selection | None = None,
        trainer: Trainer | None = None,
    ) -> Results:
        """Train every seed and test it once.

        Raises:
            ValueError: an error of `claim_folder`, `settle_gamma`, `check_gamma` or `run_seeds`.
        """
        trainer = trainer or self.trainer or Trainer()
        facts = self._facts(method, config, gamma, selection)
        gamma_facts = self._settle_gamma(method, config, folder, facts, recipe, gamma, selection, trainer)
        check_gamma(folder, self.seeds, gamma_facts)
        training = _Training(trainer=trainer, method=method, config=config, gamma=gamma_facts.value)
        keep = None if method.keep is None else training.keep
        results = run_seeds(
            training, self.train, self.test, self.seeds, folder, facts, gamma_facts, self.accelerator, keep,
            self.log_with, self._schedule(trainer, method),
        )  # fmt: skip
        if self.accelerator.is_main_process and method.keep is not None:
            save_facts(folder, self.table, self.splits, self.train, method.name, config)
        return results

    def published(
        self,
        method: Method,
        config: Any,
        folder: Path,
        *,
        recipe: Recipe | None = None,
        gamma: Gamma = "auto",
        selection: Selection | None = None,
        every: int | None = None,
        trainer: Trainer | None = None,
    ) -> Results:
        """Run the literature's protocol: test rows choose the best epoch of each seed.  γ is the honest protocol's.

        every: GAN steps between two looks at the test rows; None: a tenth of all steps.

        Raises:
            ValueError: the method has no epochs to choose from.
        """
        check_protocol(method, "published", every)
        assert method.looks is not None
        looks = method.looks(config, every)  # refuses a wrong `every` before a file is written
        facts = replace(self._facts(method, config, gamma, selection), protocol=LABEL, every=looks[0][0])
        trainer = trainer or self.trainer or Trainer()
        gamma_facts = self._settle_gamma(method, config, folder, facts, recipe, gamma, selection, trainer)
        finish = _TestOften(
            method=method, config=config, gamma=gamma_facts.value, every=every, folder=folder,
            train=self.train.to(self.accelerator.device), test=self.test.to(self.accelerator.device),
        )  # fmt: skip
        schedule = self._schedule(trainer, method)
        finish_seeds(finish, PUBLISHED_FILE, self.seeds, folder, facts, self.accelerator, self.log_with, schedule)
        results = self._published_results(folder, facts, gamma_facts)
        write_results(results, folder, self.accelerator)
        return results

    def _schedule(self, trainer: Trainer, method: Method) -> Schedule:
        return Schedule(each=partial(trainer.each, method), at_once=trainer.at_once, profile=self.profile)

    def _facts(self, method: Method, config: Any, gamma: Gamma, selection: Selection | None) -> RunFacts:
        choice = "a fixed recipe" if selection is None else "chosen on validation folds"
        return RunFacts(
            **vars(describe_data(self.table, self.splits)),
            method=method.name,
            method_version=version_of(method),
            form=method.form,
            protocol=f"{HONEST}: {choice}, nothing chosen on a test row",
            inductive=not method.transductive(config),
            gamma_asked=gamma,
            selection=None if selection is None else content_of(selection),
            config=content_of(config),
        )

    def _settle_gamma(
        self,
        method: Method,
        config: Any,
        folder: Path,
        facts: RunFacts,
        recipe: Recipe | None,
        gamma: Gamma,
        selection: Selection | None,
        trainer: Trainer,
    ) -> GammaFacts:
        """Claim the folder for this run, then return γ; the folder keeps the trials of calibration folds."""
        check_seeds(self.seeds)
        with self.accelerator.main_process_first():
            claim_folder(folder, asdict(facts))
        if self.accelerator.is_main_process:
            keep_side_information(self.splits, folder)
        is_usual = self.splits.side_information == ATTRIBUTES  # γ of a fine-tuning is for attributes alone
        if recipe and recipe.calibrated and (not is_usual or facts.attributes != "att"):
            recipe = None  # γ of a recipe was chosen on `att`, as the split file has it
        return settle_gamma(
            gamma, method, config, self.table, self.train.to(self.accelerator.device), self._gamma_folds, folder,
            recipe=recipe, carried=is_usual, selection=selection, trainer=trainer,
            accelerator=self.accelerator, asked=len(self.seeds),
        )  # fmt: skip

    def _gamma_folds(self) -> Folds:
        return self.calibration or self.validation

    def _published_results(self, folder: Path, facts: RunFacts, gamma: GammaFacts) -> Results:
        of_seeds = {
            seed: read_record(folder / f"seed-{seed}" / PUBLISHED_FILE, Published, REMEDY) for seed in self.seeds
        }
        scores = [
            SeedScores(**vars(published.best), seed=seed, harmonic_oracle_weights=published.harmonic_oracle_weights)
            for seed, published in of_seeds.items()
        ]
        choices = tuple(
            {"seed": seed} | {key: value for key, value in content_of(published).items() if key != "best"}
            for seed, published in of_seeds.items()
        )
        details = f"{DETAILS_FILE} is of the look after `steps`, that with the best H; T1 of `steps_of_zsl`"
        return summarise(scores, facts, gamma, rows_read(folder, self.seeds), selected_on_test=choices, details=details)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Training:
    """The training of a model for each seed, in this process or in another one."""

    trainer: Trainer
    method: Method
    config: Any
    gamma: float

    def __call__(self, train: TrainSplit, seed: int, log: Log) -> Calibrated:
        model = self.trainer.model(self.method, train, self.config, seed=seed, log=log)
        return Calibrated(model, self.gamma, train.seen)

    def keep(self, model: Any, folder: Path) -> None:
        """Write the parts of a model that prediction needs."""
        assert self.method.keep is not None
        self.method.keep(model, folder)


@dataclass(frozen=True, kw_only=True, eq=False)
class _TestOften:
    """The training of a seed by the published protocol, with its looks at the test rows."""

    method: Method
    config: Any
    gamma: float
    every: int | None
    folder: Path
    train: TrainSplit
    test: TestSplit

    def __call__(self, seed: int, seed_folder: Path, journal: Journal) -> None:
        split, to_file = replace(self.train, reads=[]), record_to(self.folder / ACCESS_FILE, seed)

        def record(note: Note) -> None:
            note_reads(split.reads, self.test, seed_folder)  # before each look, so that a kill loses no read
            to_file(note)

        published, details = train_published(
            self.method, split, self.test, self.config, self.gamma, journal, record, seed=seed, every=self.every
        )
        save_details(details, seed_folder / DETAILS_FILE)
        write_json(seed_folder / PUBLISHED_FILE, asdict(published))
