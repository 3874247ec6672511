"""Fusion, crops, flips, stages and fp32 modules, each against timm, torchvision or a plain loop."""

from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.data.transforms_factory import create_transform
from torch import Tensor, nn
from torchvision.transforms import v2

from backbones import Backbone, EncodeOptions, Transform, load_backbone
from backbones.fuse import fuse_conv_bn

HALF = (0.5, 0.5, 0.5)


def model_with_statistics(name: str) -> nn.Module:
    """A model whose batch normalisations do something."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = timm.create_model(name, pretrained=False)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean = torch.randn_like(module.weight) * 0.1
                module.running_var = torch.rand_like(module.weight) + 0.5
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0, 0.1)
    return model.eval().requires_grad_(False)


def count_norms(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def photos(count: int = 3, size: int = 64) -> Tensor:
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


# --- fusion ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("test_resnet", 0),
        ("tf_efficientnet_lite0", 0),
        ("mobilenetv3_small_050", 0),
        ("densenet121", 62),  # normalises what it has concatenated: nothing to fuse with
        ("resnetv2_50", 17),  # normalises sums
        ("convnext_atto", 0),  # has none
    ],
)
def test_the_fused_model_computes_the_same(name: str, left: int) -> None:
    model = model_with_statistics(name).double()  # rounding of fp32 would depend on the images that are drawn
    norms = count_norms(model)
    fused, pairs = fuse_conv_bn(model, torch.zeros(1, 3, 64, 64, dtype=torch.float64))
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    torch.testing.assert_close(fused(images), model(images), rtol=1e-3, atol=1e-4)
    assert (count_norms(fused), pairs) == (left, norms - left)
    assert count_norms(model) == norms  # the model given is as it was


class UsedTwice(nn.Module):
    """The convolution's output is normalised, and added as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.norm.running_mean = torch.ones(4)

    def forward(self, images: Tensor) -> Tensor:
        features = self.conv(images)
        return (features + self.norm(features)).mean((2, 3))


def test_a_model_that_fusion_would_change_comes_back_as_it_was() -> None:
    model = UsedTwice().eval()
    fused, pairs = fuse_conv_bn(model, torch.zeros(1, 3, 8, 8))
    assert fused is model
    assert pairs == 0


# --- what a feature is made from -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def resnet_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(model_with_statistics("test_resnet").state_dict(), path)
    return path


def encode(backbone: Backbone, images: Tensor) -> Tensor:
    with torch.inference_mode():
        return backbone.encode(images)


def test_flip_is_the_mean_over_both_sides(resnet_weights: Path) -> None:
    plain = load_backbone("test_resnet", resnet_weights)
    flipped = load_backbone("test_resnet", resnet_weights, EncodeOptions(flip=True))
    expected = (encode(plain, photos()) + encode(plain, photos().flip(-1))) / 2
    torch.testing.assert_close(encode(flipped, photos()), expected)
    assert not torch.allclose(encode(plain, photos()), expected)


def test_five_crops_are_the_mean_over_corners_and_centre(resnet_weights: Path) -> None:
    plain = load_backbone("test_resnet", resnet_weights, EncodeOptions(image_size=64))
    five = load_backbone("test_resnet", resnet_weights, EncodeOptions(image_size=64, crops=5))
    photo = photos(1, 96)[0]
    crops = five.transform(photo)
    assert crops.shape == (5, 3, 64, 64)
    scaled = v2.Resize((73, 73), antialias=True, interpolation=v2.InterpolationMode(five.transform.interpolation))(
        photo
    )
    corners = [scaled[:, :64, :64], scaled[:, :64, -64:], scaled[:, -64:, :64], scaled[:, -64:, -64:]]
    assert all(torch.equal(crop, corner) for crop, corner in zip(crops, corners, strict=False))
    expected = torch.stack([encode(plain, crop[None])[0] for crop in crops]).mean(0)
    torch.testing.assert_close(encode(five, crops[None])[0], expected)


@pytest.mark.parametrize("crop_pct", [0.875, 0.95, 1.0])
@pytest.mark.parametrize("size", [(120, 200), (231, 90)])
def test_crop_pct_is_timms_evaluation_transform(crop_pct: float, size: tuple[int, int]) -> None:
    pixels = photos(1, 256)[0, :, : size[0], : size[1]]
    smooth = v2.functional.gaussian_blur(pixels, [7, 7])  # timm's works on Pillow images, which round differently
    transform = Transform(size=(64, 64), mean=HALF, std=HALF, interpolation="bilinear", crop_pct=crop_pct)
    theirs = create_transform(64, interpolation="bilinear", crop_pct=crop_pct, mean=HALF, std=HALF)
    expected = (theirs(Image.fromarray(smooth.permute(1, 2, 0).numpy())) * 0.5 + 0.5) * 255
    difference = (transform(smooth).float() - expected).abs()
    assert difference.max() <= 2


@pytest.mark.parametrize(("name", "layer", "dim"), [("test_resnet", "layer2", 48), ("test_vit", "blocks.2", 64)])
def test_a_stages_output_is_averaged_over_positions(tmp_path: Path, name: str, layer: str, dim: int) -> None:
    model = model_with_statistics(name)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    backbone = load_backbone(name, tmp_path / "w.safetensors", EncodeOptions(layer=layer))
    outputs: list[Tensor] = []
    model.get_submodule(layer).register_forward_hook(lambda *given: outputs.append(given[2]))
    images = photos(2, 160)
    with torch.inference_mode():
        model(backbone.transform.normalise(images))
    output = outputs[0]  # [B, D, H, W], or [B, 1 + T, D] with a class token
    expected = output.mean((2, 3)) if output.ndim == 4 else output[:, model.num_prefix_tokens :].mean(1)
    made = encode(backbone, images)
    assert made.shape == (2, backbone.dim) == (2, dim)
    torch.testing.assert_close(made, expected, rtol=1e-3, atol=1e-4)


def test_a_transformer_takes_another_image_size(tiny_weights: Path) -> None:
    backbone = load_backbone("test_vit", tiny_weights, EncodeOptions(image_size=96))
    assert backbone.transform.size == (96, 96)
    assert encode(backbone, photos(2, 96)).shape == (2, 64)
    assert backbone.name.endswith("-96px")


def test_fp32_layers_are_computed_in_fp32(resnet_weights: Path) -> None:
    everything = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")
    exact = encode(load_backbone("test_resnet", resnet_weights), photos())
    errors = []
    for layers in ((), ("conv1", "bn1", "layer1", "layer2"), everything):
        backbone = load_backbone("test_resnet", resnet_weights, EncodeOptions(fp32_layers=layers))
        with torch.autocast("cpu", torch.bfloat16):
            errors.append(float((encode(backbone, photos()).float() - exact).norm() / exact.norm()))
    assert errors[0] > errors[1] > 1e-4 > errors[2]


def test_options_are_part_of_the_name(resnet_weights: Path) -> None:
    options = EncodeOptions(
        image_size=96, crop_pct=0.9, crops=5, flip=True, layer="layer3", fp32_layers=("conv1", "layer1")
    )
    name = load_backbone("test_resnet", resnet_weights, options).name
    assert name == load_backbone("test_resnet", resnet_weights).name + (
        "-96px-crop0.9-5crops-flip-at-layer3-fp32-conv1+layer1"
    )
    assert EncodeOptions().tag == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (EncodeOptions(layer="layer9"), r"--layer layer9: the model has the stages .*layer1, layer2"),
        (EncodeOptions(fp32_layers=("stem",)), r"--fp32-layers stem: the model has conv1, bn1"),
    ],
)
def test_options_that_do_not_suit_the_model_are_refused(
    resnet_weights: Path, options: EncodeOptions, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load_backbone("test_resnet", resnet_weights, options)


@pytest.mark.parametrize("crop_pct", [1.2, 0.0, -1.0, float("nan"), float("inf")])
def test_a_crop_that_keeps_nothing_or_more_than_all_is_refused(crop_pct: float) -> None:
    with pytest.raises(ValueError, match=rf"crop_pct is {crop_pct}; it is above 0 and at most 1"):
        EncodeOptions(crop_pct=crop_pct)


def test_a_crop_that_makes_a_photo_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match=r"crop_pct is 1e-09; it is at least 0\.1"):
        EncodeOptions(crop_pct=1e-9)


def test_an_image_size_that_does_not_suit_a_transformer_is_refused(tiny_weights: Path) -> None:
    with pytest.raises(ValueError, match=r"--image-size 90 does not suit this model|does not take images of 90 x 90"):
        load_backbone("test_vit", tiny_weights, EncodeOptions(image_size=90))
