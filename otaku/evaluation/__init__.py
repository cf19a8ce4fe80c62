"""What `otaku evaluate` is made of: where the data come from, how models are made and judged, and how it is told."""
