"""System 1, single-image diffusion in the wavelet domain: a pyramid of bands, a denoiser on each scale, one model.

bands.py         the pyramid: how a picture becomes scales, and what a scale gives to the next finer one
depth.py         how many scales a picture has
patches.py       the patches of a scale, and the average of overlapping patches
exact.py         the closed-form denoiser, exact: every patch of the picture is looked at
propagate.py     the closed-form denoiser at linear cost: only the children of the coarser scale's matches
closed_form.py   the two together: nothing to train
model.py         from noise to a picture, scale by scale, with any denoiser
"""
