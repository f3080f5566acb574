"""Runs Python that nobody trusts, in processes of its own behind several walls.

`sandbox` is the door: it takes a `Run` and answers an `Outcome`. Behind it `engines`
says which interpreter runs the code, `pool` keeps processes warm, `process` speaks
with one of them, `jail` builds the walls around it and `trial` finds out which of
them hold. What runs on the other side of the walls is in `inside`, which imports
nothing of the gateway.
"""
