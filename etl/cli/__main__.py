"""`python -m etl.cli`: the command, where its console script is not on the path."""

from etl.cli import main

if __name__ == "__main__":
    main()
