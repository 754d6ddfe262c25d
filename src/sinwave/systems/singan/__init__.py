"""SinGAN, the adversarial pyramid (Shaham, Dekel, Michaeli, "SinGAN: Learning a generative model from a single natural
image", ICCV 2019).

    coarsest scale     x_0 = psi_0(z_0)
    a finer scale      x_n = up(x_{n-1}) + psi_n(a_n z_n + up(x_{n-1}))

Each psi_n is five convolutions with a receptive field of 11 x 11 pixels. It is trained against a critic of the same
shape, on the patches of the picture at that scale. In a larger picture 11 pixels cover a smaller part: so the coarse
scales decide the layout and the fine ones the texture. Scales are trained one after another, or several together
(Hinz, Fisher, Wang, Wermter, "Improved techniques for training single-image GANs", WACV 2021).
"""
