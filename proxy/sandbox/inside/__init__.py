"""What runs in a sandbox's process, beside the code that nobody trusts.

It speaks with the gateway in frames (`channel`) and looks at the code without
running it (`look`); `cpython` and `monty` run it, `trial` tries the walls. It
imports nothing but itself, the standard library and its interpreter.
"""
