"""Floors answer where they say something of their own."""

from harness.branch import make_branch
from harness.tasks import get_task


def test_constant_velocity_leaves_out_what_it_would_answer_as_persistence_does() -> None:
    persistence, velocity = make_branch("persistence"), make_branch("constant_velocity")
    for task in map(get_task, ("hand_trajectory_forecast", "action_chunk", "future_video")):
        assert velocity.route(task) == persistence.route(task) == "native"
    latent = get_task("future_latent[vjepa2-tiny]")
    assert persistence.route(latent) == "native" and velocity.route(latent) is None
    assert velocity.route(get_task("timeline_action")) is None
