"""`python -m moked`: the same as the `moked` command."""

from moked.cli import main

if __name__ == "__main__":
    main()
