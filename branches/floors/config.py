"""Options of the floors."""

from dataclasses import dataclass


@dataclass
class FloorConfig:
    """Options.

    Attributes:
        velocity_steps: Steps over which `constant_velocity` takes the last velocity.
    """

    velocity_steps: int = 1
