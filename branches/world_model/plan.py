"""What the world models are made of: their networks on torch's meta device, where they take no memory."""

from typing import TYPE_CHECKING, Any

import torch

from branches.world_model.cosmos_config import TRANSFORMER_REAL
from branches.world_model.cosmos_flow import CosmosFlow, trainable
from branches.world_model.model_folder import empty_diffusers
from branches.world_model.predictor import Network
from harness.model_plan import ModelPlan, Part, measure
from harness.tasks.future import SIDE
from harness.tasks.hands import WIDTH, HandTrajectoryForecast

if TYPE_CHECKING:
    from branches.world_model.adapter import JEPA
    from branches.world_model.cosmos import Cosmos

FLOAT32 = "float32: the precision of a model folder is its own"


def jepa_plan(branch: "JEPA") -> ModelPlan:
    """The encoder is in memory while latents are made, and at no other time; the two networks are trained one after the other."""
    frozen, shape, moments = branch.encoder.without_weights(), branch.encoder.shape, (branch.config.motion_steps, WIDTH)
    with torch.device("meta"):
        latent = Network(branch.config, shape, moments, None)
        hands = Network(branch.config, shape, moments, HandTrajectoryForecast().horizon * WIDTH)
    encoder = () if frozen is None else (measure("encoder", frozen),)
    parts = (*encoder, measure("latent", latent), measure("hands", hands))
    said = [f"the past motion of both hands, {WIDTH} numbers", "latents and hands are both asked for"]
    said += [f"{branch.encoder.name} does not tell its shape: not counted"] if frozen is None else []
    said += [f"{branch.encoder.name} in {FLOAT32}"] if frozen is not None and branch.config.preset != "tiny" else []
    ingest: tuple[tuple[str, ...], ...] = (("encoder",),) if encoder else ()
    held: dict[Any, Any] = {"ingest": ingest, "fit": (("latent",), ("hands",)), "predict": (("latent", "hands"),)}
    return ModelPlan(parts, held, tuple(said))


def cosmos_plan(branch: "Cosmos") -> ModelPlan:
    """A frozen VAE, and the transformer with LoRA or trained as a whole.

    A fit needs the VAE where it encodes the future's frames itself, which are small, or the last frame held still.
    """
    vae, flow = measure("vae", branch.vae.without_weights()), measure("transformer", empty_flow(branch))
    both = (vae.name, flow.name)
    encodes = branch.config.difference or branch.vae.height == SIDE
    folders = {"vae": branch.vae.folder, "transformer": branch.given_transformer}
    said = ["future_video alone: every further task has a transformer of its own in a prediction actor"]
    said += [f"the published {name} in {FLOAT32}" for name, folder in folders.items() if folder is None]
    parts: tuple[Part, ...] = (vae, flow)
    return ModelPlan(
        parts, {"ingest": ((vae.name,),), "fit": (both if encodes else (flow.name,),), "predict": (both,)}, tuple(said)
    )


def empty_flow(branch: "Cosmos") -> CosmosFlow:
    """The flow as a fit begins with it, on the meta device."""
    from diffusers import CosmosTransformer3DModel  # noqa: PLC0415

    folder = branch.given_transformer
    with torch.device("meta"):
        empty = (
            CosmosTransformer3DModel(**TRANSFORMER_REAL) if folder is None else empty_diffusers(CosmosTransformer3DModel, folder)
        )
        kind = next(empty.parameters()).dtype
        flow = trainable(empty, branch.config)
    flow.to(kind)  # on a real device PEFT takes over the format of the weights
    return flow
