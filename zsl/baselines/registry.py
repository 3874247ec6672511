"""Earlier methods by name.

All but ZLAP with `unseen_classes` are inductive: only the trained model uses attributes of unseen classes.  Each
method has one file, which follows the method's paper and ends with its `METHOD`.  `compatibility` holds the common
parts of the linear methods.
"""

from __future__ import annotations

from zsl.baselines import ale, cdl, cnzsl, crnet, dap, devise, eszsl, exem, latem, sae, sje, sse, supervised, sync, zlap

METHODS = (
    dap.METHOD,
    devise.METHOD,
    ale.METHOD,
    sje.METHOD,
    eszsl.METHOD,
    sse.METHOD,
    sync.METHOD,
    exem.METHOD,
    cdl.METHOD,
    crnet.METHOD,
    cnzsl.METHOD,
    zlap.METHOD,
    latem.METHOD,
    sae.METHOD,
    supervised.METHOD,
)
BASELINES = {method.name: method for method in METHODS}
