"""Everything that predicts: one folder per family. What families share in torch stands beside them; no family imports another."""
