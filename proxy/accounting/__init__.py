"""What a request consumed and what it cost."""
