"""OpenAI's chat completions, and what compatible servers add to them."""
