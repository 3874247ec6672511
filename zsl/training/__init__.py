"""What the training of every method shares: stages, logs, checkpoints."""
