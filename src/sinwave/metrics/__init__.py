"""Figures for pictures: each a pure function, with a card that says what it compares and which way is better.

cards.py            every metric: direction, range, protocols, weights
evaluate.py         all that were asked for, of all pictures: measures.py one by one, sets.py together
scores.py           means and intervals
cache.py            what was computed once is kept

patches.py          how alike the patches of two pictures are, and how different samples are from each other
patch_frechet.py    how alike they are as Gaussians
nearest.py          where in another picture the nearest patches are
copies.py           how much of a sample is the source itself
seams.py            whether a picture can be put beside itself
fidelity.py         how faithful a restored picture is to the true one
niqe.py             how far local statistics are from those of natural pictures
frechet.py          the distance between two sets of features
inception.py        SIFID, FID, KID                                                 with published weights
perceptual.py       LPIPS, diversity, memorization                                  with published weights
published.py        which files those are: source and license
weights.py          where they are looked for, and how they are read
learned.py          the door to pyiqa
levels.py, rgb.py   how all of them take pictures apart
"""
