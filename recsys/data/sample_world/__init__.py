"""A seeded, invented world in the file layout of the Kaggle 2020 data set, of any size.

Stories, users and ratings are drawn from a small model with long tails, latent tastes and franchises, so that
everything behaves as with real data and nothing real is shipped. `themes` and `vocabulary` are the words,
`stories` the franchises, `works` the titles in them, `tastes` the users, `audience` what the site counts,
`catalog` the table that MyAnimeList would show, `writer` the files.
"""

from recsys.data.sample_world.writer import write_sample_world

__all__ = ["write_sample_world"]
