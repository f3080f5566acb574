"""The doors: HTTP requests in, `Call` and `Reply` out.

    handler    aiohttp's connection with our hooks: head deadline, back-pressure
    ordinary   an aiohttp request becomes a Call
    body       the caller's body, read with a limit and deadlines
    reply      the one writer of replies, whatever the door
    paths      a request target becomes a path, or is refused
    guard      what every non-model route gets: id, origin, errors, log line

Knows the pipeline and the API's handlers only as callables.
"""
