"""What a text is made of, counted once for all who ask: tokens, words, lines, n-grams, shapes of numbers."""
