"""The heads' first fit, to features of the encoder as it is (Kumar et al. 2022).

With random heads the first updates of the encoder would spoil its features.
"""

from __future__ import annotations

import torch
from accelerate.utils import broadcast
from torch.nn.functional import one_hot

from zsl.finetune.batches import Batches
from zsl.finetune.data import whole_images
from zsl.finetune.learner import Learner


def probe_heads(learner: Learner, batches: Batches) -> None:
    """Train the heads alone for `probe_steps` steps, each on all images to train on; the encoder stays as it is."""
    config, tuner, data = batches.config, learner.tuner, batches.data
    if config.probe_steps == 0:
        return
    device = learner.accelerator.device
    tuner.eval()
    with torch.no_grad():
        images = whole_images(data, batches.indices, batches.transform, device)
        features = torch.cat([tuner.encoder(some).float() for some in images])
    targets = one_hot(data.labels[batches.indices], len(data.attributes)).float().to(features.device)
    heads = [p for name, p in tuner.named_parameters() if not name.startswith("encoder.")]
    optimizer = torch.optim.Adam(heads, lr=config.lr_probe)
    for _ in range(config.probe_steps):
        loss, _ = tuner.loss(features, targets)
        optimizer.zero_grad()
        (loss / len(features)).backward()
        optimizer.step()
    for head in heads:  # GPUs may differ in last bits, and nothing would make them equal again
        head.data.copy_(broadcast(head.detach().clone()))
    learner.stepper.zero_grad()
    if learner.ema is not None:
        learner.ema.set(tuner)
