"""Answers that need no model: what every branch has to beat."""
