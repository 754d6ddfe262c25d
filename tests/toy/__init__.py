"""A system of another package: it learns the mean color, and draws it with some grain."""

from sinwave.systems.table import System

SYSTEM = System("toy", "the mean color, with grain", "toy.options:Options", "toy.train:setup", "toy.model:load")
FOLDERS = SYSTEM._replace(name="toys", learns_from="folder")
