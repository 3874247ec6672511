"""Other programs that run an encoder on the CPU in PyTorch's place: OpenVINO and onnxruntime (extra `engines`).

An engine takes over one step: from normalised images to features.  Transform, crops and mirror images stay the same.
It gets the encoder with batch normalisation fused, and images of one fixed shape.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from backbones.backbone import Backbone

Engine = Literal["torch", "openvino", "onnxruntime"]
Run = Callable[[Tensor], Tensor]  # from normalised images [B, 3, H, W] to features [B, D], both fp32 on the CPU

TORCH: Engine = "torch"
PACKAGES = {"openvino": ("openvino",), "onnxruntime": ("onnx", "onnxruntime")}
PRECISIONS = {"openvino": ("no", "bf16"), "onnxruntime": ("no",)}
EXTRA = "pip install '.[engines]'"


def check_engine(engine: Engine, backbone: Backbone, precision: str, device: torch.device) -> None:
    """Refuse what the engine cannot do, before anything is computed.

    precision: as Accelerate has it: no, bf16 or fp16.

    Raises:
        ValueError: a package is not installed, or the device, the precision or an option is not for this engine.
    """
    if engine == TORCH:
        return
    if absent := [name for name in PACKAGES[engine] if find_spec(name) is None]:
        raise ValueError(f"--engine {engine} needs {' and '.join(absent)}, not installed here; {EXTRA}")
    if device.type != "cpu":
        raise ValueError(
            f"--engine {engine} computes on the CPU, this process on {device.type}; ACCELERATE_USE_CPU=1 takes the "
            "CPU, --engine torch the GPU"
        )
    if precision not in PRECISIONS[engine]:
        raise ValueError(
            f"--engine {engine} does not compute in {precision}; add --precision no, or leave --engine out"
        )
    if backbone.options.fp32_layers:
        raise ValueError("--fp32-layers mixes precisions within a model, which only --engine torch does")


def with_engine(backbone: Backbone, engine: Engine, precision: str, batch_size: int) -> Backbone:
    """Return the backbone with an encoder that the engine runs, for batches of exactly `batch_size` photos.

    Raises:
        ValueError: the engine does not take the model; the message names model and reason.
    """
    example = torch.zeros(batch_size * backbone.transform.crops, 3, *backbone.transform.size)
    try:
        run = load_engine(engine, backbone.encoder, example, precision)
    except Exception as error:  # exporters end with many types of exceptions
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(f"--engine {engine} does not take {backbone.name}: {reason}; take --engine torch") from error
    return replace(backbone, encoder=run)


def load_engine(engine: Engine, encoder: nn.Module, example: Tensor, precision: str) -> Run:
    """Convert `encoder` for the engine.  It takes images of the shape of `example` only, and PyTorch's threads."""
    load = {"openvino": _load_openvino, "onnxruntime": _load_onnxruntime}[engine]
    root, level = logging.getLogger(), logging.getLogger().level
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tracing warns of each Python number; the comparison tells what matters
            return load(encoder, example, precision)
    finally:
        root.setLevel(level)  # OpenVINO lets only errors through after a conversion that failed


def engine_versions(engine: Engine) -> dict[str, str]:
    """The versions of the packages that an engine's numbers depend on, beside PyTorch's."""
    return {name: _version(name) for name in PACKAGES.get(engine, ())}


def _version(name: str) -> str:
    """The version of a package of this import name, which may be installed under another one (onnxruntime-gpu)."""
    try:
        return version(name)
    except PackageNotFoundError:
        return str(import_module(name).__version__)


def _load_openvino(encoder: nn.Module, example: Tensor, precision: str) -> Run:
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # or the import reports to its maker
    openvino: Any = import_module("openvino")
    kind = {"no": openvino.Type.f32, "bf16": openvino.Type.bf16}[precision]
    model = openvino.convert_model(encoder, example_input=example, input=[tuple(example.shape)])
    settings = {"INFERENCE_PRECISION_HINT": kind, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = openvino.compile_model(model, "CPU", settings)
    if (real := compiled.get_property("INFERENCE_PRECISION_HINT")) != kind:
        raise ValueError(f"OpenVINO computes in {real.to_string()} on this processor; add --precision no")
    # A copy, because the next call writes over the output.
    return lambda images: torch.from_numpy(compiled([images.contiguous().numpy()])[0].copy())


def _load_onnxruntime(encoder: nn.Module, example: Tensor, precision: str) -> Run:
    onnxruntime: Any = import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "encoder.onnx"
        torch.onnx.export(encoder, (example,), path, dynamo=False)  # the other exporter needs one more package
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: torch.from_numpy(session.run(None, {name: images.contiguous().numpy()})[0])
