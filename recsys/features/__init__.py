"""What the ranker sees: the feature schema, text and LightFM embeddings, ranking features."""
