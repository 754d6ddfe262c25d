"""Enlarging with a small network that learns how from the one picture that is to be enlarged, while the user waits.

After Shocher, Cohen and Irani, "Zero-shot super-resolution using deep internal learning", CVPR 2018, in the wavelet
domain and with the reduction known exactly.
"""
