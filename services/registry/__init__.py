"""Trained models on disk: published with a manifest, promoted through a quality gate, rolled back, loaded."""
