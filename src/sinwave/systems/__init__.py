"""The published systems, each on its own: they share the floors below and never import each other."""
