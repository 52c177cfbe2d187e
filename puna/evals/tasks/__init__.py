"""One benchmark a file: items to prompts, outputs to verdicts."""
