"""Files of weights as training programs leave them: taken, or refused with what was found."""

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from backbones import EncodeOptions, find_preset, load_backbone, measure_cost
from backbones.backbone import create_model, export_manifest
from backbones.tuned import FINETUNED, photos_metadata
from backbones.weights import load_weights

State = dict[str, Tensor]


def with_head(classes: int) -> Callable[[State], State]:
    """The same encoder with a classifier of other classes."""

    def change(state: State) -> State:
        return state | {"head.weight": torch.ones(classes, 64), "head.bias": torch.ones(classes)}

    return change


def without_head(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if not name.startswith("head.")}


def below(prefix: str, change: Callable[[State], State] = lambda state: state) -> Callable[[State], State]:
    return lambda state: {prefix + name: tensor for name, tensor in change(state).items()}


def other(state: State) -> State:
    """Weights that are not the ones that count."""
    return {name: tensor + 1 for name, tensor in state.items()}


TAKEN: dict[str, Callable[[State], Any]] = {
    "as timm writes them": lambda state: state,
    "10 classes": with_head(10),
    "1,000 other classes": with_head(1000),
    "no head": without_head,
    "a head of two layers": lambda state: without_head(state) | {"head.1.weight": torch.ones(3, 64)},
    "module.": below("module."),
    "model.": below("model."),
    "backbone.": below("backbone."),
    "encoder.": below("encoder."),
    "_orig_mod.": below("_orig_mod."),
    "module. and 10 classes": below("module.", with_head(10)),
    "module.backbone.": below("module.backbone.", without_head),
    "beside a wrapper's head": lambda state: below("backbone.", without_head)(state) | {"fc.weight": torch.ones(9, 64)},
    "model": lambda state: {"model": state, "epoch": 3},
    "state_dict": lambda state: {"state_dict": state, "optimizer": {"lr": 0.1}},
    "module": lambda state: {"module": state},
    "model in state_dict": lambda state: {"state_dict": {"model": state}},
    "state_dict with module.": lambda state: {"state_dict": below("module.", with_head(7))(state), "arch": "x"},
    "the moving average first": lambda state: {"state_dict": other(state), "state_dict_ema": state},
    "model_ema": lambda state: {"model": other(state), "model_ema": state},
    "ema below names": lambda state: below("ema_model.")(state) | below("online.")(other(state)),
    "a teacher": lambda state: {"student": other(state), "teacher": below("backbone.", without_head)(state)},
    "a moving average as `shadow`": lambda state: {"state_dict": other(state), "ema": {"shadow": state, "decay": 0.9}},
    "settings of a moving average": lambda state: {"ema": {"decay": 0.9}, "state_dict": state},
    "a list of a moving average": lambda state: {"state_dict": state, "ema": {"shadow_params": list(state.values())}},
    "timm's train.py": lambda state: {"state_dict": state, "args": argparse.Namespace(model="test_vit"), "epoch": 3},
    "half precision": lambda state: {name: tensor.half() for name, tensor in state.items()},
}


@pytest.fixture(scope="module")
def state(tiny_weights: Path) -> State:
    return load_file(tiny_weights)


@pytest.fixture(scope="module")
def expected(state: State) -> State:
    return without_head(state)


@pytest.mark.parametrize("kind", TAKEN)
def test_whatever_lies_around_the_encoder_its_weights_are_loaded(
    tmp_path: Path, state: State, expected: State, kind: str
) -> None:
    torch.save(TAKEN[kind](state), tmp_path / "w.pth")
    model: Any = timm.create_model("test_vit", pretrained=False)
    load_weights(model, tmp_path / "w.pth")
    loaded = model.state_dict()
    rounded = kind == "half precision"
    for name, tensor in expected.items():
        assert torch.equal(loaded[name], tensor.half().float() if rounded else tensor), name


@pytest.mark.parametrize("name", ["pytorch_model.bin", "MINE.SAFETENSORS"])
def test_safetensors_are_told_by_their_content(tmp_path: Path, state: State, tiny_weights: Path, name: str) -> None:
    save_file(state, tmp_path / name)
    expected = load_backbone("test_vit", tiny_weights).weights_sha256
    assert load_backbone("test_vit", tmp_path / name).weights_sha256 == expected


def test_a_file_of_a_sharded_checkpoint_is_named_so(tmp_path: Path, state: State) -> None:
    part = {name: tensor for name, tensor in state.items() if name.startswith("blocks.0.")}
    save_file(part, tmp_path / "model-00001-of-00002.safetensors")
    with pytest.raises(ValueError, match=r"is one of the 2 files of a sharded checkpoint; save all of them"):
        load_backbone("test_vit", tmp_path / "model-00001-of-00002.safetensors")
    save_file(state, tmp_path / "model-00001-of-00001.safetensors")
    assert load_backbone("test_vit", tmp_path / "model-00001-of-00001.safetensors").dim == 64


def test_a_folder_is_no_file_of_weights(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"is a folder; --weights is the file of weights in it"):
        load_backbone("test_vit", tmp_path)


def test_a_classifier_that_does_not_fit_becomes_zero_and_one_that_fits_stays(tmp_path: Path, state: State) -> None:
    for change, value in ((with_head(10), 0.0), (without_head, 0.0), (with_head(1000), 1.0)):
        save_file(change(state), tmp_path / "w.safetensors")
        head = create_model(find_preset("test_vit"), tmp_path / "w.safetensors").state_dict()["head.weight"]
        assert torch.equal(head, torch.full_like(head, value))


def test_features_do_not_depend_on_the_classifier_of_the_file(tmp_path: Path, state: State) -> None:
    hashes = set()
    for number, change in enumerate((with_head(1000), with_head(3), without_head, below("module.", with_head(5)))):
        save_file(change(state), tmp_path / f"{number}.safetensors")
        hashes.add(load_backbone("test_vit", tmp_path / f"{number}.safetensors").weights_sha256)
    assert len(hashes) == 1


def nan(state: State) -> State:
    broken = {name: tensor.clone() for name, tensor in state.items()}
    broken["blocks.1.norm1.weight"][:3] = math.nan
    broken["norm.bias"][0] = math.inf
    return broken


REFUSED: dict[str, tuple[Callable[[State], Any], str]] = {
    "NaN": (nan, r"w\.pth: 3 of 64 numbers of the tensor blocks\.1\.norm1\.weight are NaN or infinite; .*earlier"),
    "infinite in fp32": (
        lambda state: {
            name: tensor.double() * (1e39 if name == "norm.bias" else 1) + 1e39 * (name == "norm.bias")
            for name, tensor in state.items()
        },
        r"64 of 64 numbers of the tensor norm\.bias are NaN or infinite",
    ),
    "complex": (
        lambda state: state | {"norm.bias": state["norm.bias"].to(torch.complex64)},
        r"the tensor norm\.bias is complex; needed are plain numbers",
    ),
    "sparse": (
        lambda state: state | {"norm.bias": state["norm.bias"].to_sparse()},
        r"the tensor norm\.bias is sparse .*; needed are plain numbers",
    ),
    "whole numbers": (
        lambda state: state | {"norm.bias": state["norm.bias"].to(torch.int8)},
        r"the tensor norm\.bias holds whole numbers \(torch\.int8\)",
    ),
    "a list": (lambda state: list(state.values()), r"w\.pth holds a list; a state dict \(name -> tensor\) is needed"),
    "a tensor": (lambda state: state["norm.bias"], r"w\.pth holds a Tensor; a state dict"),
    "nothing": (lambda state: {}, r"w\.pth holds no tensors but nothing; needed is a state dict"),
    "no weights": (lambda state: {"epoch": 3, "loss": 0.1}, r"w\.pth holds no tensors but epoch, loss; needed is"),
    "an empty entry": (lambda state: {"model": {}}, r"w\.pth holds no tensors but model; needed is"),
    "an entry without": (lambda state: {"model": {"a": 1}}, r"w\.pth, in model, holds no tensors but a; needed is"),
    "another model": (
        lambda state: timm.create_model("test_resnet", pretrained=False).state_dict(),
        r"does not fit the architecture: \d+ of \d+ tensors absent, \d+ unknown; absent: .*Is --backbone the model",
    ),
    "twice": (
        lambda state: below("student.")(state) | below("other.")(state),
        r"w\.pth holds the architecture 2 times, as other\., student\.; save one of them alone",
    ),
    "a surplus tensor": (
        lambda state: state | {"extra": torch.ones(1)},
        r"0 of \d+ tensors absent, 1 unknown; .*extra",
    ),
    "a module": (
        lambda _: timm.create_model("test_vit", pretrained=False),
        r"w\.pth cannot be read as weights.* also holds timm\.\S+\.VisionTransformer, which could run code",
    ),
    "another size": (
        lambda state: state | {"pos_embed": torch.ones(1, 5, 64)},
        r"size mismatch for pos_embed: 1 x 5 x 64 in the file, 1 x 101 x 64 here",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_does_not_fit_is_refused_with_what_was_found(tmp_path: Path, state: State, kind: str) -> None:
    change, message = REFUSED[kind]
    torch.save(change(state), tmp_path / "w.pth")
    with pytest.raises(ValueError, match=message):
        load_backbone("test_vit", tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", r"is a Git LFS pointer.*git lfs pull"),
        (b"", "cannot be read as weights"),
        (b"<html>", "cannot be read as weights"),
        (b"\x80\x04K\x01.", "cannot be read as weights|holds a int"),
    ],
)
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_files_that_hold_no_weights_are_named(tmp_path: Path, content: bytes, message: str, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} .*({message})"):
        load_backbone("test_vit", tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"null", b"\xff\xfe"])
def test_a_broken_manifest_beside_weights_is_named(tmp_path: Path, state: State, content: bytes) -> None:
    save_file(state, tmp_path / "w.safetensors")
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"manifest\.json, which says what w\.safetensors is, (is broken|holds a)"):
        load_backbone("test_vit", tmp_path / "w.safetensors")


# --- names -----------------------------------------------------------------------------------------------------------

UNTAGGED = [name for name in timm.list_models() if not getattr(timm.get_pretrained_cfg(name), "tag", None)]


@pytest.mark.parametrize("name", [*UNTAGGED[:3], "test_mambaout", "botnet50ts_256"])
def test_a_model_without_published_weights_asks_for_a_file(name: str) -> None:
    preset = find_preset(name)
    assert not preset.published
    assert preset.pretraining.startswith("unknown") or preset.weights_tag
    with pytest.raises(FileNotFoundError, match=rf"timm publishes no weights of {name}; .*--weights FILE"):
        load_backbone(name)


def test_a_model_without_a_tag_takes_a_file_of_weights(tmp_path: Path) -> None:
    torch.save(timm.create_model("test_mambaout", pretrained=False, num_classes=3).state_dict(), tmp_path / "w.pth")
    backbone = load_backbone("test_mambaout", tmp_path / "w.pth")
    assert backbone.name == f"test_mambaout.w-{backbone.weights_sha256[:8]}"
    with torch.inference_mode():
        assert backbone.encode(torch.zeros(2, 3, *backbone.transform.size, dtype=torch.uint8)).shape == (
            2,
            backbone.dim,
        )


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("resnet5O", "resnet50"),
        ("ResNet50", "resnet50"),
        ("timm/resnet-50", "resnet50"),
        ("efficientnet-lite0", "efficientnet_lite0"),
        ("vit_base_patch16", "vit_base_patch16_224"),
        ("convnext_tny", "convnext_tiny"),
        ("resnet50.a1_in1", "a1_in1k"),
    ],
)
def test_a_near_miss_of_a_name_is_told_the_name(name: str, nearest: str) -> None:
    with pytest.raises(ValueError, match=rf"did you mean .*\b{nearest}\b.*\?"):
        find_preset(name)


def test_a_name_that_is_near_nothing_gets_no_guess() -> None:
    with pytest.raises(ValueError, match="no backbone 'qqqqqqqq'") as error:
        find_preset("qqqqqqqq")
    assert "did you mean" not in str(error.value)


# --- any model of timm -----------------------------------------------------------------------------------------------

FAMILIES = [  # small models of unlike families: odd classifiers, several heads, 3-d and no convolutions
    "test_resnet", "test_efficientnet", "test_byobnet", "test_convnext", "test_nfnet", "test_coatnet",
    "test_vit", "starnet_s050", "edgenext_xx_small", "mobilevitv2_050", "mobilenetv3_small_050", "repghostnet_050",
    "efficientvit_m0", "regnetx_002", "pit_ti_224", "pvt_v2_b0", "inception_next_atto", "crossvit_tiny_240",
    "efficientformerv2_s0", "eca_halonext26ts",
]  # fmt: skip


def encode(name: str, weights: Path) -> Tensor:
    backbone = load_backbone(name, weights)
    photos = torch.randint(
        0, 256, (2, 3, *backbone.transform.size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    with torch.inference_mode():
        return backbone.encode(photos)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_model_of_any_family_takes_weights_of_other_classes(tmp_path: Path, name: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: Any = timm.create_model(name, pretrained=False).eval()
    state = model.state_dict()
    save_file({k: v.clone() for k, v in state.items()}, tmp_path / "w.safetensors")
    heads = model.pretrained_cfg["classifier"]
    heads = (heads,) if isinstance(heads, str) else heads
    tuned = {k: v[:7] if k.rpartition(".")[0] in heads else v for k, v in state.items()}
    torch.save({"model": {f"module.{k}": v for k, v in tuned.items()}}, tmp_path / "w.pth")
    features = encode(name, tmp_path / "w.pth")
    assert features.isfinite().all()
    assert torch.equal(features, encode(name, tmp_path / "w.safetensors"))


@pytest.mark.parametrize(
    ("name", "size"),
    [("test_vit", 8), ("test_vit", 1), ("test_vit", 90), ("pit_ti_224", 100)],
)
def test_a_size_that_a_model_cannot_have_is_refused_in_words(tmp_path: Path, name: str, size: int) -> None:
    torch.save(timm.create_model(name, pretrained=False).state_dict(), tmp_path / "w.pth")
    with pytest.raises(
        ValueError, match=rf"(--image-size {size} does not suit this model|images of {size} x {size} pixels)"
    ):
        load_backbone(name, tmp_path / "w.pth", EncodeOptions(image_size=size))


def test_costs_are_counted_of_a_model_that_does_not_run_without_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = measure_cost("test_vit")
    create = timm.create_model

    def reads_its_numbers(name: str, **options: Any) -> Any:
        model = create(name, **options)
        next(iter(model.parameters())).sum().item()
        return model

    monkeypatch.setattr(timm, "create_model", reads_its_numbers)
    assert measure_cost("test_vit") == expected


def test_a_model_that_gives_no_vector_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: State) -> None:
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, **options: create(name, **options, global_pool=""))
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(
        ValueError, match=r"gives a Tensor of shape \(1, 101, 64\) for one image .*needed is one vector"
    ):
        load_backbone("test_vit", tmp_path / "w.safetensors")


def test_a_manifest_that_is_sound_is_read(tmp_path: Path, state: State) -> None:
    save_file(state, tmp_path / "w.safetensors")
    (tmp_path / "manifest.json").write_text(json.dumps({"pretraining": "birds"}))
    assert load_backbone("test_vit", tmp_path / "w.safetensors").pretraining == "birds"


# --- the manifest beside weights -------------------------------------------------------------------------------------


@pytest.fixture
def tuned(tiny_weights: Path, tmp_path: Path) -> Path:
    """Weights as fine-tuning writes them: with the hashes of its photos, and a manifest that names the file."""
    weights = tmp_path / "weights.safetensors"
    save_file(load_file(tiny_weights), weights, photos_metadata({"a1", "b2"}))
    manifest = {
        "kind": FINETUNED, "weights_file": weights.name, "architecture": "test_vit", "image_size": 160,
        "pretraining": "ImageNet-1k, fine-tuned on cub trainval", "benchmark": "cub", "fold": None,
        "trainval": {"count": 2, "hash": "0"}, "split_hashes": [], "classes": ["wren"],
    }  # fmt: skip
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return weights


def test_a_manifest_speaks_of_the_file_that_it_names(tuned: Path, tiny_weights: Path) -> None:
    backbone = load_backbone("test_vit", tuned)
    assert backbone.finetuned is not None
    assert (backbone.finetuned.classes, len(backbone.tuned_photos)) == (("wren",), 2)
    stranger = tuned.with_name("webcrawl.safetensors")
    save_file(load_file(tiny_weights), stranger)
    other = load_backbone("test_vit", stranger)
    assert (other.finetuned, other.pretraining) == (None, "unknown (weights file webcrawl.safetensors)")


@pytest.mark.parametrize("change", ["renamed", "no manifest", "manifest of a feature table"])
def test_finetuned_weights_without_their_manifest_are_refused(tuned: Path, change: str) -> None:
    manifest = tuned.with_name("manifest.json")
    if change == "renamed":
        tuned = tuned.rename(tuned.with_name("best.safetensors"))
    elif change == "no manifest":
        manifest.unlink()
    else:
        manifest.write_text(json.dumps({"kind": "features", "weights_file": tuned.name, "pretraining": "ImageNet-1k"}))
    with pytest.raises(ValueError, match=rf"{tuned.name} was fine-tuned on 2 photos, but .*put the manifest"):
        load_backbone("test_vit", tuned)


def test_an_exports_copy_has_a_manifest_of_its_name_and_only_its_own(tuned: Path, tmp_path: Path) -> None:
    copy = tmp_path / "export" / "backbone.safetensors"
    copy.parent.mkdir()
    save_file(load_file(tuned), copy, photos_metadata({"a1", "b2"}))
    export_manifest(copy, tuned)
    assert load_backbone("test_vit", copy).finetuned == load_backbone("test_vit", tuned).finetuned
    copy.with_name("manifest.json").unlink()
    export_manifest(copy, tuned.with_name("webcrawl.pth"))
    assert not copy.with_name("manifest.json").exists()
