"""Image-text similarity: towers of open_clip (a stand-in here), prompts, and scores by the same evaluator."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import fake_openclip
import numpy as np
import pytest
import torch
from accelerate import Accelerator
from command_line import load_script
from fake_openclip import DIM, MODEL, SIDE
from safetensors.torch import save_file
from toy import toy_splits

from backbones import load_backbone
from backbones.openclip import embed_texts, open_model, open_tokenizer
from backbones.presets import find_preset, unseen_classes
from shards import read_index
from zsl.baselines import clip
from zsl.cli import run_script
from zsl.datasets.class_names import read_names
from zsl.datasets.class_vectors import Origin, read_class_vectors, write_class_vectors
from zsl.datasets.places import shards_folder
from zsl.datasets.prompts import make_prompts, templates_of
from zsl.experiments import methods
from zsl.experiments.experiment import Experiment
from zsl.features.extract import ExtractSettings, extract_features
from zsl.features.load import load_splits
from zsl.features.split import split_features
from zsl.features.table import FeatureTable, read_features
from zsl.features.text_vectors import check_same_model, embed_names, open_towers
from zsl.scores.details import load_details

BACKBONE = f"openclip_{MODEL}.seed3"
TEMPLATES = ("a photo of a {}.", "a {} in the wild")


@pytest.fixture(autouse=True)
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_openclip.install(monkeypatch)


@pytest.fixture
def table(tiny_shapes: Path, accelerator: Accelerator, tmp_path: Path) -> FeatureTable:
    shards = shards_folder(tiny_shapes, "shapes")
    out = tmp_path / "table"
    extract_features(
        load_backbone(BACKBONE), shards, read_index(shards), out, accelerator, ExtractSettings(batch_size=16)
    )
    return read_features(out)


def test_features_are_the_image_embeddings_of_the_model() -> None:
    backbone = load_backbone(BACKBONE)
    assert (backbone.name, backbone.dim, backbone.transform.size) == (BACKBONE, DIM, (SIDE, SIDE))
    assert unseen_classes(backbone.pretraining) == "unknown"
    images = torch.randint(0, 256, (5, 3, SIDE, SIDE), dtype=torch.uint8)
    model = fake_openclip.create_model(MODEL, "seed3")
    mean, std = (torch.tensor(model.visual.preprocess_cfg[key])[:, None, None] for key in ("mean", "std"))
    with torch.inference_mode():
        expected = model.visual((images / 255 - mean) / std)
        assert torch.allclose(backbone.encode(images), expected, atol=1e-5)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_come_from_a_file_of_both_towers_or_of_the_image_tower(tmp_path: Path, prefix: str) -> None:
    published = load_backbone(BACKBONE)
    state = fake_openclip.create_model(MODEL, "seed3").state_dict()
    save_file({f"{prefix}{name}": tensor.clone() for name, tensor in state.items()}, tmp_path / "both.safetensors")
    images = {name: tensor.clone() for name, tensor in state.items() if name.startswith("visual.")}
    save_file(images, tmp_path / "image.safetensors")
    for file in ("both", "image"):
        backbone = load_backbone(f"openclip_{MODEL}", tmp_path / f"{file}.safetensors")
        assert backbone.weights_sha256 == published.weights_sha256
    _, model, tower = open_towers(f"openclip_{MODEL}", tmp_path / "both.safetensors")
    assert tower.image_tower_sha256 == published.weights_sha256
    assert torch.equal(model.letters.weight, state["letters.weight"])
    with pytest.raises(ValueError, match="does not hold both towers"):
        open_towers(f"openclip_{MODEL}", tmp_path / "image.safetensors")
    save_file({"visual.other": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="does not hold the image tower"):
        load_backbone(f"openclip_{MODEL}", tmp_path / "other.safetensors")


def test_what_cannot_be_had_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match=r"could not be fetched \(OSError\).*--weights"):
        load_backbone(f"openclip_{MODEL}.absent")
    with pytest.raises(ValueError, match="names no weights"):
        load_backbone(f"openclip_{MODEL}")
    with pytest.raises(ValueError, match=f"no model 'Tiny-B-23'; did you mean .*{MODEL}"):
        load_backbone("openclip_Tiny-B-23.seed0")
    with pytest.raises(ValueError, match="only models of open_clip have a text tower"):
        open_towers("resnet50", None)
    monkeypatch.setattr("backbones.openclip.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'zsl-dcrgan\[clip\]'"):
        load_backbone(BACKBONE)


def test_a_name_s_vector_is_the_mean_of_its_unit_vectors() -> None:
    model = fake_openclip.create_model(MODEL, "seed3")
    names = ["red cat", "blue dog"]
    made = embed_names(model, fake_openclip.tokenize, names, TEMPLATES, lower=False)
    for row, name in zip(made, names, strict=True):
        vectors = [model.encode_text(fake_openclip.tokenize([t.replace("{}", name)]))[0] for t in TEMPLATES]
        mean = sum(vector / vector.norm() for vector in vectors) / len(vectors)
        assert torch.allclose(row, mean / mean.norm(), atol=1e-6)
    many = [f"text {number}" for number in range(7)]
    assert torch.allclose(
        embed_texts(model, fake_openclip.tokenize, many, batch_size=3), embed_texts(model, fake_openclip.tokenize, many)
    )


def test_weights_get_the_activation_that_they_were_trained_with() -> None:
    for tag, expected in (("seed7", True), ("seed3", False)):
        assert open_model(find_preset(f"openclip_{MODEL}.{tag}")).quick_gelu is expected


@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [
        (ModuleNotFoundError("No module named 'transformers'"), ValueError, "'transformers'.*pip install transformers"),
        (OSError("offline"), FileNotFoundError, r"could not be fetched \(OSError\)"),
    ],
)
def test_a_tokenizer_that_cannot_be_had_is_refused_in_words(
    error: Exception, raised: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get_tokenizer(name: str) -> None:
        raise error

    monkeypatch.setattr(sys.modules["open_clip"], "get_tokenizer", get_tokenizer)
    with pytest.raises(raised, match=message):
        open_tokenizer(find_preset(BACKBONE))


def test_the_script_embeds_the_names_and_refuses_before_it_fetches_weights(
    tiny_shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, out = load_script("embed_names.py"), tmp_path / "v.npy"
    script.main(script.Args(backbone=BACKBONE, data=tiny_shapes, templates=TEMPLATES, out=out))
    read = read_class_vectors(out)
    _, model, tower = open_towers(BACKBONE, None)
    names = read_names(tiny_shapes / "shapes" / "names.csv", read.names)
    expected = embed_names(model, fake_openclip.tokenize, names, TEMPLATES, lower=False)
    assert read.vectors == pytest.approx(expected.numpy())
    assert replace(read.origin, content=None) == tower.of(TEMPLATES)
    monkeypatch.setattr("zsl.features.text_vectors.open_towers", lambda *_: pytest.fail("the weights were fetched"))
    wrongs = ({"templates": ("x",)}, "--templates"), ({"out": tmp_path / "v.txt"}, "ends in .npy"), (
        {"benchmark": "shaps"}, "no benchmark 'shaps'"
    )  # fmt: skip
    for wrong, message in wrongs:
        with pytest.raises(ValueError, match=message):
            script.main(script.Args(**{"backbone": BACKBONE, "data": tiny_shapes, **wrong}))


def test_the_templates_of_benchmarks_and_models() -> None:
    (of_cub,) = make_prompts(["Crested Auklet"], templates_of("cub", "ViT-B-32"))
    assert of_cub == ["a photo of a Crested Auklet, a type of bird."]
    assert make_prompts(["fox"], templates_of("awa2", "ViT-B-32")) == [["a photo of a fox."]]
    (of_siglip,) = make_prompts(["Crested Auklet"], templates_of("cub", "ViT-B-16-SigLIP"), lower=True)
    assert of_siglip == ["this is a photo of crested auklet."]
    for wrong in ((), ("a photo",), ("{} and {}",)):
        with pytest.raises(ValueError, match="--templates"):
            make_prompts(["x"], wrong)


def test_scores_are_those_of_a_plain_loop_over_cosines(
    tiny_shapes: Path, table: FeatureTable, accelerator: Accelerator, tmp_path: Path
) -> None:
    _, model, tower = open_towers(BACKBONE, None)
    plain = load_splits("shapes", tiny_shapes, table)
    vectors = embed_names(model, fake_openclip.tokenize, plain.names, TEMPLATES, lower=False).numpy()
    write_class_vectors(tmp_path / "v.npy", plain.class_names, vectors, tower.of(TEMPLATES))
    of_file = read_class_vectors(tmp_path / "v.npy")
    check_same_model(of_file, table.manifest)
    splits = load_splits("shapes", tiny_shapes, table, vectors=of_file)
    train, test = split_features(table, splits)
    experiment = Experiment(
        table=table, splits=splits, train=train, test=test, seeds=(0,), accelerator=accelerator
    )  # fmt: skip
    results = experiment.run(clip.METHOD, tmp_path / "run")
    assert results.side_information == "class names"
    assert "pretraining is unknown" in results.attributes
    assert "a photo of a {}." in results.attributes
    assert results.unseen_classes == "unknown"
    assert results.inductive
    assert results.gamma.source.startswith("of ")  # of calibration folds, as for each other method

    gamma = results.gamma.value
    details = load_details(tmp_path / "run" / "seed-0" / "details.safetensors")
    position = {row: at for at, row in enumerate(np.asarray(table.rows).tolist())}
    classes = [*splits.seen.tolist(), *splits.unseen.tolist()]
    right: dict[int, list[bool]] = {}
    for row, label in zip(details.unseen_rows.tolist(), details.unseen_labels.tolist(), strict=True):
        photo = np.asarray(table.features[position[row]], np.float64)
        scores = {
            c: 100 * float(photo @ vectors[c]) / math.sqrt(photo @ photo) - (gamma if c in splits.seen else 0)
            for c in classes
        }
        right.setdefault(label, []).append(max(scores, key=lambda c: scores[c]) == label)
    expected = np.mean([np.mean(answers) for answers in right.values()])
    assert results.mean["acc_unseen"] == pytest.approx(expected, abs=1e-6)

    other = replace(of_file, origin=replace(of_file.origin, image_tower_sha256="0" * 64))
    with pytest.raises(ValueError, match="in the space of another model"):
        check_same_model(other, table.manifest)
    with pytest.raises(ValueError, match="needs --class-vectors"):
        check_same_model(None, table.manifest)


@pytest.mark.parametrize(("script", "flag"), [("choose.py", "--method"), ("sweep.py", "--methods")])
def test_each_script_wants_class_vectors_of_the_features_model(
    script: str,
    flag: str,
    tiny_features: Path,
    tmp_path: Path,
    accelerator: Accelerator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module, data = load_script(script), tiny_features.parents[2]
    monkeypatch.setattr(module, "make_accelerator", lambda precision: accelerator)
    words = ["--features", tiny_features, "--data", data, "--runs", tmp_path / "runs", flag, "clip"]
    splits = load_splits("shapes", data, read_features(tiny_features))
    vectors = np.ones((len(splits.class_names), 64), np.float32)  # of the features' size, so that only a hash tells
    origin = Origin(kind="class names", source="another model", image_tower_sha256="0" * 64)
    write_class_vectors(tmp_path / "v.npy", splits.class_names, vectors, origin)
    for more, message in (([], "needs --class-vectors"), (["--class-vectors", tmp_path / "v.npy"], "another model")):
        monkeypatch.setattr(sys, "argv", [script, *map(str, [*words, *more])])
        with pytest.raises(SystemExit, match=message):
            run_script(module.main, module.Args)
    assert not (tmp_path / "runs").exists()


def test_vectors_of_another_size_are_refused() -> None:
    train, _ = toy_splits()
    with pytest.raises(ValueError, match="compares features of size 24 with class vectors of size 6"):
        clip.METHOD.train(train, clip.METHOD.config, seed=0)


def test_the_method_is_found_and_is_in_no_group() -> None:
    assert methods.OTHERS["clip"] is clip.METHOD
    assert "clip" not in methods.GROUPS["table2"]
    assert find_preset(BACKBONE).weights_tag == "seed3"
