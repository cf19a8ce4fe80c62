"""The command line and the local platform."""
