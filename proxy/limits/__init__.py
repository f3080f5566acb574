"""How much a caller may use: requests, tokens, at the same time, and money."""
