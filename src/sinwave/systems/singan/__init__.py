"""SinGAN, the adversarial pyramid (Shaham, Dekel, Michaeli, "SinGAN: Learning a generative model from a single natural
image", ICCV 2019).

    coarsest scale     x_0 = psi_0(z_0)
    a finer scale      x_n = up(x_{n-1}) + psi_n(a_n z_n + up(x_{n-1}))

Each psi_n is five convolutions that see 11 x 11 pixels and play against a critic of the same shape, which sees all
patches of that size of the picture at that scale. The larger the picture, the smaller what 11 pixels are of it: so the
coarse scales decide the layout and the fine ones the texture. Scales are trained one after another, or some together
(Hinz, Fisher, Wang, Wermter, "Improved techniques for training single-image GANs", WACV 2021).
"""
