"""One method on one feature table, from a selection or a recipe to `results.json`; by either protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from accelerate import Accelerator

from zsl.curves import Calibrated
from zsl.data import describe_data
from zsl.dcrgan import DCRGANConfig
from zsl.evaluate import DETAILS_FILE, Scores, ZeroShotModel, save_details
from zsl.features import FeatureTable, TestSplit, TrainSplit
from zsl.files import read_json, write_json
from zsl.journal import Journal
from zsl.methods import Method, describe_method, find_method, override
from zsl.predictor import save_facts
from zsl.provenance import note_start
from zsl.published import LABEL, train_published
from zsl.run import ACCESS_FILE, LOG_FILE, RESULTS_FILE, claim_folder, name_of_run, record_to, run_seeds, summarise
from zsl.select import Selection, Trainer, read_selection
from zsl.splits import Splits
from zsl.stages import Log


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
            return model if selection is None else Calibrated(model, selection.best.gamma, train.seen).eval()

        results = run_seeds(train_method, self.train, self.test, self.seeds, folder, facts, self.accelerator)
        if self.accelerator.is_main_process and isinstance(config, DCRGANConfig):
            save_facts(folder, self.table, self.splits, self.train, facts)
        return results

    def run(
        self,
        name: str,
        config: DCRGANConfig,
        folder: Path,
        *,
        selection: Path | None = None,
        protocol: Literal["honest", "published"] = "honest",
        every: int = 50,
    ) -> dict[str, Any]:
        """The method `name` with `config`, or with what the selection in the file `selection` has instead."""
        method, chosen = find_method(name, config), None
        config = method.configured(method.config)
        if selection is not None:
            facts = self.table.manifest
            chosen = read_selection(selection, benchmark=facts["benchmark"], backbone=facts["backbone"])
            config = method.configured(chosen.config(method))
        if protocol == "published":
            if chosen is not None:  # the honest γ: only the epoch is chosen on test rows
                gamma = config.classifiers.gamma + chosen.best.gamma
                config = override(config, {"classifiers.gamma": gamma})
            return self.published(method, config, folder, every=every)
        return self.honest(method, config, folder, selection=chosen, trainer=Trainer())

    def published(self, method: Method, config: Any, folder: Path, *, every: int) -> dict[str, Any]:
        """The literature's protocol: of each seed's test epochs the best, chosen on the test rows."""
        facts = describe_data(self.table, self.splits) | describe_method(method, config)
        facts |= {"protocol": LABEL, "every": every}
        claim_folder(folder, facts)
        note_start(folder)
        best, extra = {}, []
        for seed in self.seeds:
            scores_file = folder / f"seed-{seed}" / "published.json"
            if not scores_file.is_file():
                journal = Journal(folder / f"seed-{seed}" / LOG_FILE, run=name_of_run(facts, seed))
                own = replace(self.train, reads=[])
                record = record_to(folder / ACCESS_FILE, seed)
                made, details = train_published(own, self.test, config, journal, record, seed=seed, every=every)
                save_details(details, folder / f"seed-{seed}" / DETAILS_FILE)
                write_json(scores_file, asdict(made))
                journal.clear()
            content = read_json(scores_file)
            best[seed] = Scores(**content.pop("best"))
            extra.append({"seed": seed} | content)
        results = summarise(best, facts) | {"selected_on_test": extra}
        write_json(folder / RESULTS_FILE, results)
        return results
