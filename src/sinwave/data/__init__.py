"""Data: what is learned from, as batches of crops of the pictures of a folder."""
