"""Policies: networks that a robot, or a hand, would be driven by. They answer with a chunk of actions in physical units."""
