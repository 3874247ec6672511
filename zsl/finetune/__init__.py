"""Fine-tuning of a backbone on the photos of seen classes, and the verdict whether unseen ones gain."""

from zsl.finetune.command import Finetuning, run_finetuning

__all__ = ["Finetuning", "run_finetuning"]
