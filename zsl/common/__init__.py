"""Files, randomness, devices, configurations, drawings: nothing of zero-shot learning."""
