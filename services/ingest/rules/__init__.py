"""The named rules of pre-processing. Each is counted by its name wherever it drops or changes something."""
