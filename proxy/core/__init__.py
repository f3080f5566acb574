"""Words that all stages share: call, types, errors, tasks, clock, ids.

Standard library only; knows no stage, no provider and no HTTP library.
"""
