"""One module per command of `otaku`; each is thin and imports what it needs when it runs."""
