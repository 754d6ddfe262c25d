"""Edits: one mechanism, a picture that is redrawn from a strength on while constraints hold for every estimate.

masks.py      how much each pixel may change
canvas.py     redraw: the mechanism
NAME.py       an edit: its options, and what it makes of them
files.py      from the files of a command to the pictures of an edit
"""
