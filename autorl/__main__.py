"""`python -m autorl` is the command line."""

from autorl.cli import main

if __name__ == "__main__":  # the worker processes import this module too
    main()
