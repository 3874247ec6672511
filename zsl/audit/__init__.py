"""Checks of what is on disk: whether test rows or unseen classes leak, and whether all that is needed is there."""
