"""The shared parts of every method's training: stages, logs, checkpoints."""
