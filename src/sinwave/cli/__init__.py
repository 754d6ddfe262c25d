"""The command line: `main` is the shell, every other command is one module that loads when it is named."""
