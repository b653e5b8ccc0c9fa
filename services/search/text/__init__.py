"""Text analysis: from what is written to the terms that are searched."""
