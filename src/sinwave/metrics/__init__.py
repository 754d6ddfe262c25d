"""Figures for pictures: pure functions, each with a card that says what it compares and which way is better.

To add a metric, write a pure function on uint8 pictures, its card, and its measure in picture_measures.py or
set_measures.py.
"""
