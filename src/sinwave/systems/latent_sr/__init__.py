"""Super-resolution by diffusion in the latents of an autoencoder, with published networks (LDM-SR)."""
