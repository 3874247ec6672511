"""Generative methods by name, each in two forms; a line below adds a file's methods."""

from __future__ import annotations

from zsl.generative import cycle_clswgan

METHODS = (*cycle_clswgan.METHODS,)
GENERATIVE = {method.name: method for method in METHODS}
