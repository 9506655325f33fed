"""``python -m fitcalc``."""

from fitcalc.cli.main import main

if __name__ == "__main__":
    main()
