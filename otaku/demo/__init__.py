"""The whole loop once, told as it happens: `otaku demo`."""
