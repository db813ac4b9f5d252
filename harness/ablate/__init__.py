"""Modality ablation: the same run again and again, each time with something taken away, compared pair by pair."""
