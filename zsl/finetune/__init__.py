"""Fine-tuning of a backbone on the photos of seen classes, and the verdict whether unseen ones gain."""

from typing import TYPE_CHECKING

from zsl.common.lazy import lazy_names

if TYPE_CHECKING:
    from zsl.finetune.command import Finetuning, run_finetuning, verdicts
    from zsl.finetune.crossfit_verdict import CrossfitVerdict
    from zsl.finetune.decision import Verdict
    from zsl.finetune.train import finetune
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = ["CrossfitVerdict", "Finetuning", "Verdict", "finetune", "run_finetuning", "verdicts"]
