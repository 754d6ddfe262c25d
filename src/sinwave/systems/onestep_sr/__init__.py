"""Restoration in one step of a latent diffusion model with low-rank changes (OSEDiff)."""
