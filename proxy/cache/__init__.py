"""Replies given again to requests that ask the same (http-api §1, lessons R24).

`key` tells which requests ask the same, `fitness` which replies may be kept,
`responses` keeps them, `replay` gives them again as a stream or whole, `flights` lets
those that ask the same at once share one upstream request, `copies` catches replies.
"""
