"""``python3 tests/bench --json FILE``: measures the appliance, as root in a bed of its own."""

from benchlib.cli import main

if __name__ == "__main__":
    main()
