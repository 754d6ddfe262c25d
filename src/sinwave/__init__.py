"""New pictures from one picture, learned in the wavelet domain.

Importing the package is instant and leaves the environment alone: torch and everything that needs it live in the
submodules, which load when they are imported by name.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
