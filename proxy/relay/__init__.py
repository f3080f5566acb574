"""THE data plane: the one HTTP client in the process and the moving of replies.

    origin, dial      where an upstream is and how to open a connection to it
    head, framing     HTTP/1.1 as text: heads and body framing, sans-IO
    connection, pool  one keep-alive connection; the idle ones of an origin
    client            a request on a connection, stale ones replaced; Fetch
    transfer, modes   one reply on its way to the caller, with its deadlines
    translate         a stream on its way into another dialect
    keepalive         the caller's side while nothing comes: commit and comments
    headers           what of the upstream's head the caller gets
    websocket         an upgraded connection, passed both ways

Knows `Reply`, never aiohttp.web; knows no provider, no route and no model.
"""
