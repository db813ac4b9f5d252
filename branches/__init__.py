"""Everything that predicts: one folder per family."""
