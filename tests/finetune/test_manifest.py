"""What fine-tuning writes is read as it was written; a file with a wrong field is refused, and the field named."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from backbones.tuned import FINETUNED, TunedFacts
from zsl.common.files import write_json
from zsl.finetune.decision import decide, read_verdict
from zsl.finetune.manifest import read_manifest
from zsl.scores.folds import FoldScores

FIRST = {
    "benchmark": "birds", "fold": 2, "trainval": {"count": 9, "hash": "0a1b2c"}, "split_hashes": ["a", "b", "c"],
    "classes": ["Heron", "Swan"], "started_from": {},
}  # fmt: skip
BEFORE, AFTER = (
    {"acc_zsl": 0.5, "harmonic": harmonic, "gamma": 1, "acc_seen": 0.7, "ausuc": 0.2} for harmonic in (0.3, 0.4)
)
VERDICT = {
    "verdict": "keep", "gain": 0.1, "margin": 0.005, "share": 0.5, "before": BEFORE, "after": AFTER,
    "candidates": [{"share": 0.5} | AFTER, {"share": 1} | BEFORE], "folds": [1, 2], "judge": "dcrgan",
    "judge_seeds": [0, 1], "epochs": 3, "validation_classes": {"1": 2, "2": 2}, "meaning": "of 4 classes",
}  # fmt: skip
MANIFEST: dict[str, Any] = {
    "kind": FINETUNED, "weights_file": "weights.safetensors", "architecture": "resnet", "pretraining": "ImageNet-1k",
    "image_size": 64, **FIRST, "fold": None, "started_from": FIRST, "rows_decoded": {"count": 12, "hash": "ffffff"},
    "share_of_tuned_weights": 0.5, "epochs": 3, "images_per_second": None, "curve": [{"loss": 1.5}],
    "losses": [2.0, 1.0],
    "verdict": VERDICT, "processes": 1, "threads": 2, "command": "finetune.py", "data": "complete", "splits": "checked",
    "shards_sha256": "00", "backbone": "resnet.a1", "started_from_sha256": "11", "config": {"epochs": 8, "wise": [0.5]},
    "folds": [1, 2], "judge": ["dcrgan", 0, 1], "margin": 0.005, "precision": "no", "versions": {"torch": "2"},
    "crossfit": 4, "hold_out": 0.2,
    "gamma": {"method": "dcrgan+", "config_sha256": "22", "unit": "raw", "value": 19.5, "folds": 4, "harmonic": 0.7},
}  # fmt: skip


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    for number, verdict in enumerate((VERDICT, None)):
        path = tmp_path / f"{number}.json"
        write_json(path, MANIFEST | {"verdict": verdict})
        assert json.loads(json.dumps(read_manifest(path).content())) == MANIFEST | {"verdict": verdict}


def test_a_manifest_of_an_earlier_version_has_no_class_folds(tmp_path: Path) -> None:
    later = ("crossfit", "hold_out", "gamma")
    write_json(tmp_path / "m.json", {key: value for key, value in MANIFEST.items() if key not in later})
    manifest = read_manifest(tmp_path / "m.json")
    assert (manifest.facts.crossfit, manifest.facts.hold_out, manifest.weights.facts.gamma) == (0, 0.0, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": "3"}, r"m\.json: field 'epochs' is '3', it is a whole number"),
        ({"processes": True}, r"m\.json: field 'processes' is True, it is a whole number"),
        ({"images_per_second": "fast"}, r"m\.json: field 'images_per_second' is 'fast', it is a number or null"),
        ({"trainval": {"count": 9}}, r"m\.json: trainval: field 'hash' is absent, it is a text"),
        (
            {"started_from": FIRST | {"fold": "1"}},
            r"m\.json: started_from: field 'fold' is '1', it is a whole number or null",
        ),
        ({"verdict": VERDICT | {"after": {}}}, r"m\.json: verdict: after: field 'gamma' is absent, it is a number"),
        ({"gamma": {"method": "dcrgan+"}}, r"m\.json: gamma: field 'config_sha256' is absent, it is a text"),
        ({"config": []}, r"m\.json: field 'config' is \[\], it is an object"),
    ],
)
def test_a_wrong_field_is_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_json(tmp_path / "m.json", MANIFEST | changes)
    with pytest.raises(ValueError, match=message):
        read_manifest(tmp_path / "m.json")


def test_a_verdict_of_an_earlier_version_says_nothing_of_two_scores(tmp_path: Path) -> None:
    earlier = {key: value for key, value in AFTER.items() if key not in ("acc_seen", "ausuc")}
    write_json(tmp_path / "verdict.json", VERDICT | {"after": earlier})
    verdict = read_verdict(tmp_path / "verdict.json")
    assert math.isnan(verdict.decision.after.ausuc)
    assert verdict.decision.before == FoldScores(**BEFORE)
    assert "H on the validation classes of fold 1 2 30.0 before, 40.0 after" in verdict.text()


def test_the_candidates_are_what_was_decided_among() -> None:
    before, low, high = (FoldScores(gamma=0.0, harmonic=harmonic, acc_zsl=0.5) for harmonic in (0.3, 0.35, 0.4))
    decision = decide(before, {0.5: low, 0.75: high, 1.0: high}, margin=0.2)
    assert (decision.share, decision.after, decision.verdict) == (0.75, high, "roll back")
    assert decision.candidates == {0.5: low, 0.75: high, 1.0: high}


def test_facts_that_an_earlier_version_did_not_write_stay_unknown() -> None:
    earlier = {key: FIRST[key] for key in ("benchmark", "fold", "trainval")}
    facts = TunedFacts.read(earlier, "m.json")
    assert (facts.classes, facts.split_hashes, facts.started_from) == (None, None, None)
    assert facts.content() == earlier | {"started_from": {}}
    assert TunedFacts.read(FIRST, "m.json").content() == FIRST
