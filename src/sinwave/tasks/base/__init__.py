"""Parts of tasks: the classes that they extend, the options that they share, and how they are run."""
