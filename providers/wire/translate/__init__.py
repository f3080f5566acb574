"""Dialects over one vocabulary: N readers and N writers, no pair knows another.

`request` and `events` are the vocabulary, `reply` joins events into a whole answer.
One package per dialect reads it (bytes in, vocabulary out) and writes it; what a
dialect cannot say is data in its `mapping` module. `codecs` lists them all. Where
both sides speak the same dialect none of this runs: bytes go through.
"""
