"""System 1, single-image diffusion in the wavelet domain: a pyramid of bands, a denoiser on each scale, one model.

Drawing reads in this order: bands, patches, exact, propagate, model, closed_form; then network, expectation
and combined (layout from the network, detail from the closed form; mixtures). Training: options, material, recipe,
train.
"""
