"""minictr: a Linux container runtime in one folder of Python, standard library only."""

__version__ = "0.1.0"
