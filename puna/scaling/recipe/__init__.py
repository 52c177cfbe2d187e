"""What a recipe will take before any of it is run: every stage's time, memory, FLOPs and price."""
