"""Actions as numbers: rotations, poses, the hand-pose action and its projection, quantiles. NumPy only."""
