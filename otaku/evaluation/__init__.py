"""Parts of `otaku evaluate`: data sources, fitting and evaluating models, tables and plots."""
