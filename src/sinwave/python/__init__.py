"""Tasks as methods of Python objects; `sinwave` has their names, and loads them when they are used."""
