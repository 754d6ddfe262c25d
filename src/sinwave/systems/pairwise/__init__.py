"""Few-shot adaptation: a diffusion model that has learned from many pictures takes on the look of ten."""
