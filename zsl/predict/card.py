"""The card of an exported predictor that is shared: what it was trained on, by which protocol, with which scores."""

from __future__ import annotations

from pathlib import Path

from zsl.common.card import licence_note, write_card
from zsl.common.markdown import markdown_table
from zsl.dcrgan.saved import BACKBONE_FILE
from zsl.experiments.results import RESULTS_FILE, TABLE, Results, read_results, spread_text
from zsl.predict.encoders import backbone_folders
from zsl.predict.predictor import Predictor, load_predictor

HOW = """
```bash
hf upload OWNER/NAME FOLDER                                    # the act of whoever shares it
python scripts/predict.py --run hf://OWNER/NAME photo.jpg
```
"""
CONTENT = """
The folder holds weights, attributes and names of the classes, and the features of the trainval photos, which new
classes need. It holds no photo. All files are safetensors, JSON and CSV; nothing in them can be executed.
"""
UNTESTED = "No results lie beside the models, so nothing is said about their scores."


def predictor_card(folder: Path) -> str:
    """The card of the export in `folder`.

    Raises:
        FileNotFoundError: there is no such folder, or it lacks a file.
        ValueError: it is no export, or one of its files is damaged.
    """
    predictor = load_predictor(folder)
    facts = predictor.facts
    for place in backbone_folders(facts.backbone, folder):
        if not (place / BACKBONE_FILE).is_file():
            raise FileNotFoundError(f"no {BACKBONE_FILE} in {place}; export the run anew, to another folder")
    results = read_results(folder / RESULTS_FILE) if (folder / RESULTS_FILE).is_file() else None
    about = [
        ("benchmark", facts.benchmark),
        ("photos", facts.data),
        ("method", facts.method),
        ("backbone", facts.backbone.name),
        ("its pretraining", facts.backbone.pretraining),
        ("classes", f"{len(facts.class_names)}"),
        ("classes added after training", ", ".join(facts.new_classes)),
        *(_tested(results) if results else ()),
    ]
    sections = {
        "Scores": _scores(results, predictor),
        "How to use it": HOW,
        "Content": CONTENT,
        "Licence": licence_note(facts.benchmark),
    }
    return write_card(f"{facts.method} on {facts.benchmark}", ["image-classification"], about, sections)


def _tested(results: Results) -> list[tuple[str, str]]:
    hashes = ", ".join(dict.fromkeys(str(rows.hash) for rows in results.rows_read.values() if rows.hash))
    return [
        ("splits", results.splits),
        ("hash of the rows that training read", hashes),
        ("unseen classes in the pretraining", results.unseen_classes),
        ("side information", f"{results.side_information}: {results.attributes}"),
        ("protocol", results.protocol),
        ("inductive", "yes" if results.inductive else "no: training used attributes of unseen classes"),
        ("γ", f"{results.gamma.value:.4g} ({results.gamma.source})"),
        ("seeds", ", ".join(str(entry.seed) for entry in results.seeds)),
    ]


def _scores(results: Results | None, predictor: Predictor) -> str:
    if results is None:
        return UNTESTED
    row = [spread_text(results, key) for key in TABLE.values()]
    more = "With the classes that were added it was not tested. " if predictor.facts.new_classes else ""
    spread = "Per cent, mean ± standard deviation over seeds; accuracies are means over classes."
    answers = "The answers are the mean of all seeds."
    if predictor.models.keys() != {entry.seed for entry in results.seeds}:
        answers = f"The answers are those of seed {' and '.join(map(str, predictor.models))}, which the folder holds."
    return f"{markdown_table([*TABLE], [row])}\n{more}{spread} {answers}"
