"""Data: what is learned from, as batches: crops of the pictures of a folder, dead leaves, and degraded pictures."""
