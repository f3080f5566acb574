"""Which provider serves a request: what lives, what it offers, who is chosen.

registry holds the live providers, health asks them how they are, discovery finds
more, catalog turns both and the configuration into a table of names, choose orders
the candidates of a request by needs, breaker, affinity and load, and select raises
the right error when nothing is left. failover says who is asked next, traffic hears
how each attempt ended, wake rouses who sleeps. Nothing here moves a reply.
"""
