"""Networks: plain modules, without a word on how they are trained or where their weights come from.

inception.py    Inception-v3 as the Frechet Inception distance uses it
local.py        a convolutional network whose receptive field is bounded, for diffusion on one picture
residual.py     a plain convolutional network for what is missing of a picture
trunks.py       the convolutions of AlexNet and VGG-16, with the taps of LPIPS
"""
