"""Does anything leak, and is everything there: checks of artifacts from outside."""
