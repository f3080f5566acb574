"""Several processes that serve one address: `--workers N` (docs/adr/0016).

`supervisor` is the parent, which serves nobody: it starts the workers, starts them again
when they end, and passes signals on. `seat` is a worker's place among the others, `control`
how they speak to each other, `fleet` what one of them does for all.
"""
