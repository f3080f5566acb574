"""Durable data: one database by URL, and one file for each thing that is kept in it.

`database` opens it, `tables` says what is in it, `schema` brings it up to date; `keys`,
`requests`, `usage` and `responses` each own the SQL of one table or two. Nobody above
sees SQL or SQLAlchemy: values and the errors of `errors` come out.
"""
