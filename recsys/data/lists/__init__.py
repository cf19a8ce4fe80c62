"""Watch lists as users have them on disk: exports of MyAnimeList, AniList and Yamtrack, and their match to a catalog.

One module per format, one registry in `formats`; the format is found by content, never by the name of the file.
"""
