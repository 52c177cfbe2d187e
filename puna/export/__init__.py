"""A trained model as a folder to give away: weights, tokenizer, a GGUF file for llama.cpp, a card with its scores."""
