"""What is computed from hidden states: embeddings, prediction heads, adapters, variant scores."""
