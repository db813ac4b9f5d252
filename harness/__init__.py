"""The frame: episodes, windows, tasks, bundles, evaluation. It knows no model."""
