"""Quality, domain and toxicity of documents, learned from labels: label -> classify -> filter (docs/classify.md)."""
