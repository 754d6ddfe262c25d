"""Figures for pictures: each a pure function, weight-free unless its module says which weights it needs.

patches.py    how alike the patches of two pictures are, and how different samples are from each other
"""
