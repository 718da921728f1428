"""The endpoints of models that give no text: embeddings and reranking."""
