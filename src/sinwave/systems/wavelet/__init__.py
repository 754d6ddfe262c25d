"""System 1, single-image diffusion in the wavelet domain: a pyramid of bands, a denoiser on each scale, one model.

bands.py         the pyramid: how a picture becomes scales, and what a scale gives to the next finer one
depth.py         how many scales a picture has
patches.py       the patches of a scale, and the average of overlapping patches
exact.py         the closed-form denoiser, exact: every patch of the picture is looked at
propagate.py     the closed-form denoiser at linear cost: only the children of the coarser scale's matches
closed_form.py   the two together: nothing to train
schedules.py     the walk of a scale, and how it begins later
model.py         from noise to a picture, scale by scale, with any denoiser
configuration.py what a trained model is; presets.py has the two of them
material.py      crops of every scale; recipe.py the loss on them; fitting.py all that a training needs
network.py       a trained network as the denoiser of every scale, tile by tile
hybrid.py        the network's layout with the closed form's detail
mixture.py       several priors as one: each place belongs to the one that fits best
trained.py       a trained model and its file
"""
