"""Files, randomness, devices, configurations, drawings: code that knows nothing of zero-shot learning."""
