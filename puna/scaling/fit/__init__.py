"""Points -> laws: each file fits one law, or solves one question that a law answers."""
