"""Shards to feature tables, and feature tables to a TrainSplit and a TestSplit."""
