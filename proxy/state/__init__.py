"""Shared volatile state: what the processes of one gateway must agree on for a while.

`base` is the contract, `memory` keeps it within one process.
"""
