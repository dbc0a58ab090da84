"""`python -m risctl` is the `risctl` command."""

from risctl.cli.app import main

if __name__ == "__main__":
    main()
