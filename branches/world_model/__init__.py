"""World models: networks that say what the cameras will see next, as frames or as latents of a frozen encoder."""
