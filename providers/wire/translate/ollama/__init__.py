"""Ollama's own dialect: /api/chat, and /api/generate for one prompt."""
