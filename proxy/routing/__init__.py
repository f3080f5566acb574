"""Which provider serves a request: what lives, what it offers, who is chosen.

registry holds the live providers, health asks them how they are, discovery finds
more, catalog turns both and the configuration into a table of names, select
raises the right error when nothing is left. Nothing here moves a reply.
"""
