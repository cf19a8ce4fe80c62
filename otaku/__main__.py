"""`python -m otaku` is `otaku`."""

from otaku.cli import main

main()
