"""Figures for pictures: each a pure function, weight-free unless its module says which weights it needs.

patches.py          how alike the patches of two pictures are, and how different samples are from each other
patch_frechet.py    how alike they are as Gaussians
copies.py           how much of a sample is the source itself
fidelity.py         how faithful a restored picture is to the true one
frechet.py          the distance between two sets of features
nearest.py          where in another picture the nearest patches are
levels.py           how all of them take pictures apart
"""
