"""The doors: HTTP requests in, `Call` and `Reply` out.

    handler    aiohttp's connection with our hooks: head deadline, back-pressure
    leaving    who has left, of those from whom nothing is read
    fast       complete ordinary POSTs to hot targets, taken before aiohttp
    head       which those are: heads read once and remembered
    buffered   their bodies: whole, late, or left
    ordinary   an aiohttp request becomes a Call, or goes to a handler
    body       the caller's body, read with a limit and deadlines
    reply      the one writer of replies, whatever the door
    refusal    what is told to a caller for whom there is no call
    router     from method and path to a row of the route table
    paths      a request target becomes a path, or is refused
    port       who holds a port, as far as this machine tells

Knows the pipeline and the API's handlers only as callables.
"""
