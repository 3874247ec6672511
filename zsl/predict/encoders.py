"""The backbones behind a run's features: opened for photos, and copied into an export.

A run on joined backbones has several.  An export keeps the weights of a single one in its folder, and those of joined
ones in its folders `backbone-1`, `backbone-2`, … in the order of their features.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from backbones import Backbone, EncodeOptions, Transform, export_manifest, load_backbone, weight_tensors
from backbones.tuned import photos_metadata, read_tuned_photos
from zsl.common.files import atomic_path
from zsl.common.locks import sole_process
from zsl.common.tensors import write_tensors
from zsl.dcrgan.saved import BACKBONE_FILE, FACTS_FILE, BackboneFacts
from zsl.experiments.results import RESULTS_FILE
from zsl.features.manifest import EncodeFacts, TransformFacts
from zsl.predict.predictor import Predictor, save_predictor

BACKBONE_FOLDER = "backbone-"  # and a number from 1: the folder of one of several joined backbones in an export


def open_backbones(predictor: Predictor, folder: Path, weights: Sequence[Path] = ()) -> tuple[Backbone, ...]:
    """The backbones that gave the run its features, in the order of these.

    Their weights are those of the files `weights`, or of the export in `folder`, or those that their names stand for.

    Raises:
        ValueError: the features came from no backbone, or these are other weights.
        FileNotFoundError: the weights cannot be had.
    """
    facts = predictor.facts.backbone
    files = _weights_files(facts, folder, weights)
    return tuple(_open(part, folder, file) for part, file in zip(facts.each, files, strict=True))


def _weights_files(facts: BackboneFacts, folder: Path, given: Sequence[Path]) -> list[Path | None]:
    """The file of weights of each backbone: the given one, else that of an export; None for published weights.

    Raises:
        ValueError: there are more or fewer files than backbones with weights of the user's own.
    """
    files_there = (place / BACKBONE_FILE for place in backbone_folders(facts, folder))
    exported = [file if file.is_file() else None for file in files_there]
    if not given:
        return exported
    own = [_is_own(part) or len(facts.each) == 1 for part in facts.each]
    if len(given) != sum(own):
        names = ", ".join(part.name for part, is_own in zip(facts.each, own, strict=True) if is_own) or "none"
        raise ValueError(
            f"--weights names {len(given)} files; one is needed for each backbone with weights of your own, in this "
            f"order: {names}"
        )
    files = iter(given)
    return [next(files) if is_own else file for is_own, file in zip(own, exported, strict=True)]


def backbone_folders(facts: BackboneFacts, folder: Path) -> list[Path]:
    """The folder of each backbone's weights in the export `folder`."""
    parts = facts.each
    return (
        [folder] if len(parts) == 1 else [folder / f"{BACKBONE_FOLDER}{number}" for number in range(1, len(parts) + 1)]
    )


def _open(facts: BackboneFacts, folder: Path, file: Path | None) -> Backbone:
    if facts.transform is None:
        raise ValueError(f"the features of {folder} were imported ({facts.name}); no backbone here makes them")
    name = _architecture(facts, has_file=file is not None)
    backbone = load_backbone(name, file, _options(facts))
    if backbone.weights_sha256 != facts.weights_sha256:
        raise ValueError(
            f"the features of {folder} were made with weights {str(facts.weights_sha256)[:8]}, these of {name} are "
            f"{backbone.weights_sha256[:8]}; name the right file by --weights"
        )
    transform = _transform(facts.transform)
    return replace(backbone, name=facts.name, pretraining=facts.pretraining, transform=transform)


def _transform(facts: TransformFacts) -> Transform:
    """The transform that a manifest describes."""
    fields = {key: value for key, value in vars(facts).items() if key not in ("crop", "decoder")}
    return Transform(**fields)


def _architecture(facts: BackboneFacts, has_file: bool) -> str:
    """The name that loads the model: the manifest's without the parts that options and a file of weights add.

    has_file: whether a file of weights is at hand.
    """
    name = facts.name.removesuffix(_options(facts).tag)
    if not _is_own(facts):
        return name
    if not has_file:
        raise FileNotFoundError(f"the features were made with weights of your own ({name}); name the file by --weights")
    return name.partition(".")[0]


def _is_own(facts: BackboneFacts) -> bool:
    """Whether the weights came from a file; tables of earlier versions do not name it, but their pretraining does."""
    return facts.weights_file is not None or facts.pretraining.startswith("unknown (weights file")


def _options(facts: BackboneFacts) -> EncodeOptions:
    """The EncodeOptions that a manifest describes."""
    assert facts.transform is not None
    side, encode = facts.transform.size[0], facts.encode or EncodeFacts(flip=False, layer=None, fp32_layers=())
    options = EncodeOptions(
        crop_pct=facts.transform.crop_pct, crops=5 if facts.transform.crops == 5 else 1,
        flip=encode.flip, layer=encode.layer,
        fp32_layers=encode.fp32_layers,
    )  # fmt: skip
    # The name says the size where it is not the backbone's own.
    return replace(options, image_size=side) if re.search(rf"-{side}px(-|$)", facts.name) else options


def export(predictor: Predictor, folder: Path, source: Path, weights: Sequence[Path] = ()) -> None:
    """Write a predictor and its backbones to `folder`, which then predicts without run, data or hub.

    source: the folder that the predictor was read from.  weights: the backbones', where the run cannot name them.

    After an error nothing of the export is left.  A killed one lacks its last file, so that no reader takes it.

    Raises:
        FileExistsError: the folder is there and not empty.
        FolderInUse: another process exports to it.
    """
    with sole_process(folder):
        _refuse_content(folder)
        try:
            _write_export(predictor, folder, source, weights)
        except BaseException:
            for path in folder.iterdir():  # the folder was empty
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            raise


def _refuse_content(folder: Path) -> None:
    """Refuse a folder that is not empty."""
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if there & {BACKBONE_FILE, f"{BACKBONE_FOLDER}1"} and FACTS_FILE not in there:
        raise FileExistsError(f"{folder} holds an export that was stopped before its end; delete it, and export again")
    if there:
        raise FileExistsError(f"{folder} is not empty; --export makes a folder of its own")


def _write_export(predictor: Predictor, folder: Path, source: Path, weights: Sequence[Path]) -> None:
    """Write the files of an export, the one that lists the others last."""
    facts = predictor.facts.backbone
    files = _weights_files(facts, source, weights)
    for part, file, place in zip(facts.each, files, backbone_folders(facts, folder), strict=True):
        tensors = weight_tensors(_architecture(part, has_file=file is not None), file)
        write_tensors(place / BACKBONE_FILE, tensors, photos_metadata(read_tuned_photos(file)))
        if file:
            export_manifest(place / BACKBONE_FILE, file)
    if (source / RESULTS_FILE).is_file():  # for the card
        with atomic_path(folder / RESULTS_FILE) as temporary:
            shutil.copyfile(source / RESULTS_FILE, temporary)
    save_predictor(predictor, folder)
