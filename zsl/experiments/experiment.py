"""One method on one feature table, from a selection or a recipe to `results.json`; by either protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from accelerate import Accelerator

from zsl.common.config import override
from zsl.common.files import read_json, write_json
from zsl.datasets.splits import Splits
from zsl.dcrgan.config import DCRGANConfig
from zsl.dcrgan.saved import save_facts
from zsl.experiments.methods import Method, describe_method
from zsl.experiments.published import LABEL, ORACLE, steps_of_looks, train_published
from zsl.experiments.reads import ACCESS_FILE, note_reads, record_to, rows_read
from zsl.experiments.results import spread, summarise, write_results
from zsl.experiments.run import finish_seeds, run_seeds
from zsl.experiments.selection import Selection, read_selection
from zsl.experiments.trainer import Trainer
from zsl.features.load import describe_data
from zsl.features.split import TestSplit, TrainSplit
from zsl.features.table import FeatureTable
from zsl.scores.details import DETAILS_FILE, save_details
from zsl.scores.model import Calibrated, ZeroShotModel
from zsl.scores.summary import Scores
from zsl.training.journal import Journal
from zsl.training.log import Log

PUBLISHED_FILE = "published.json"
LOOKS = 10  # of the published protocol, where nothing else is asked for


@dataclass(frozen=True, kw_only=True, eq=False)
class Experiment:
    """Data on which methods are run."""

    table: FeatureTable
    splits: Splits
    train: TrainSplit
    test: TestSplit
    seeds: Sequence[int]
    accelerator: Accelerator

    def honest(
        self, method: Method, config: Any, folder: Path, *, selection: Selection | None = None, trainer: Trainer
    ) -> dict[str, Any]:
        """Train every seed and test it once; with a selection, γ for calibrated stacking is that of its folds."""
        facts = describe_data(self.table, self.splits) | describe_method(
            method, config, None if selection is None else asdict(selection)
        )

        def train_method(train: TrainSplit, seed: int, log: Log) -> ZeroShotModel:
            model = trainer.model(method, train, config, seed=seed, log=log)
            return model if selection is None else Calibrated(model, selection.gamma, train.seen).eval()

        results = run_seeds(train_method, self.train, self.test, self.seeds, folder, facts, self.accelerator)
        if self.accelerator.is_main_process and isinstance(config, DCRGANConfig):
            save_facts(folder, self.table, self.splits, self.train, facts)
        return results

    def run(
        self,
        method: Method,
        folder: Path,
        *,
        selection: Path | None = None,
        protocol: Literal["honest", "published"] = "honest",
        every: int | None = None,
    ) -> dict[str, Any]:
        """The method with its configuration, or with what the selection in the file `selection` has instead."""
        if every is not None and protocol == "honest":
            raise ValueError(f"--every {every} is for --protocol published; the honest one has no looks at test rows")
        chosen, config = None, method.configured(method.config)
        if selection is not None:
            chosen = read_selection(selection, method, self.table.manifest, self.train.attributes)
            config = method.configured(chosen.config(method))
        if protocol == "published":
            return self.published(method, config, folder, selection=chosen, every=every)
        return self.honest(method, config, folder, selection=chosen, trainer=Trainer())

    def published(
        self, method: Method, config: Any, folder: Path, *, selection: Selection | None = None, every: int | None = None
    ) -> dict[str, Any]:
        """The literature's protocol: of each seed's test epochs the best, chosen on the test rows; γ is the honest one.

        every: GAN steps between two looks at the test rows; None: a tenth of all of them.

        Raises:
            ValueError: the method has no epochs to choose among.
        """
        if not isinstance(config, DCRGANConfig):
            raise ValueError(
                f"--protocol published looks at the test rows between steps of a GAN; {method.name} has none: leave "
                "--protocol out"
            )
        every = max(1, config.gan.steps // LOOKS) if every is None else every
        steps_of_looks(config.gan.steps, every)  # refuses before anything is written
        if selection is not None:
            gamma = config.classifiers.gamma + selection.gamma
            config = override(config, {"classifiers.gamma": gamma})
        facts = describe_data(self.table, self.splits) | describe_method(
            method, config, None if selection is None else asdict(selection)
        )
        facts |= {"protocol": LABEL, "every": every}
        device = self.accelerator.device
        train, test = self.train.to(device), self.test.to(device)

        def finish(seed: int, own_folder: Path, journal: Journal) -> None:
            own, to_file = replace(train, reads=[]), record_to(folder / ACCESS_FILE, seed)

            def record(note: dict[str, Any]) -> None:
                note_reads(own.reads, test, own_folder)  # before each look; after a kill those before it stay noted
                to_file(note)

            made, details = train_published(own, test, config, journal, record, seed=seed, every=every)
            save_details(details, own_folder / DETAILS_FILE)
            write_json(own_folder / PUBLISHED_FILE, asdict(made))

        finish_seeds(finish, PUBLISHED_FILE, self.seeds, folder, facts, self.accelerator)
        made = {seed: read_json(folder / f"seed-{seed}" / PUBLISHED_FILE) for seed in self.seeds}
        results = summarise({seed: Scores(**content.pop("best")) for seed, content in made.items()}, facts)
        for name, part in spread({ORACLE: [content[ORACLE] for content in made.values()]}).items():
            results[name] |= part
        results["rows_read"] = rows_read(folder, self.seeds)
        results["selected_on_test"] = [{"seed": seed} | content for seed, content in made.items()]
        results["details"] = f"{DETAILS_FILE} is of the look after `steps`, that with the best H; T1 of `steps_of_zsl`"
        write_results(results, folder, self.accelerator)
        return results
