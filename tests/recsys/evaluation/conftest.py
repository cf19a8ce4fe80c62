"""What pytest must leave alone here."""

collect_ignore = ["rectools_reference.py"]  # it runs where RecTools is installed, which is not here
