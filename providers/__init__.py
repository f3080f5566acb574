"""Adapters: what differs between kinds of model server, and nothing else.

Imports nothing from the gateway, does no I/O: an adapter turns a request into
an upstream request and reads replies that somebody else fetched. `KINDS` is
filled by hand in registry.py.
"""
