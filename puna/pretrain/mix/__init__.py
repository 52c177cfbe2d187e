"""How much of what: shares of domains -> which documents are learned how often, and the search for the best shares."""
