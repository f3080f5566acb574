"""local-ai: one OpenAI-compatible address in front of the models one runs.

Where things are, from the outside in; each imports only what stands below it:

    __main__, cli    the command line
    app, routes      the web application; every URL on one page
    workers          several processes on one port
    api, web         thin handlers; pages
    server           the doors: HTTP in, Call and Reply out
    runtime          the composition root: opens in order, closes in reverse
    pipeline         the spine: what happens to a call, in which order
    auth             who may call
    routing          which provider serves a model, and how it is
    relay            upstream connections; bytes from there to the caller
    accounting       who used what
    observability    logs and metrics
    config           what was decided before the start
    core             the words all of them share

The adapters of each kind of model server are in the package `providers`.
"""

__version__ = "0.1.0"
