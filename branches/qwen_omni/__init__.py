"""Qwen3-Omni, asked and fine-tuned."""
