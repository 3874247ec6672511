"""Earlier methods by name.

All are inductive: attributes of unseen classes first appear in the scorer of the trained model.  Each is written from
its paper, one file each, which ends in its `METHOD`; what is common to the linear ones is in `compatibility`.
"""

from __future__ import annotations

from zsl.baselines import ale, dap, devise, eszsl, sae, sje, supervised

METHODS = (dap.METHOD, devise.METHOD, ale.METHOD, sje.METHOD, eszsl.METHOD, sae.METHOD, supervised.METHOD)
BASELINES = {method.name: method for method in METHODS}
