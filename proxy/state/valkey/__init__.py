"""Volatile state that several processes share, kept by a Valkey (or Redis) server.

`state` is all of it, `post` the one conversation with the server, `link` its
connections (the only user of the driver), `scripts` what the server does at once,
`standing` whether it is there and what this process may do without it. `slots`,
`rates`, `money` and `facts` are the parts; `blobs` and `turns` speak for themselves,
and `failures` counts what they did not get. Imported only where `state.url` asks for it.
"""
