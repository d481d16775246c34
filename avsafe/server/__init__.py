"""The service: a page and an API where anybody can verify a file, and resolution of our marks.

Nothing of an upload is kept: it lies under a random name in a private folder while it is analysed,
and is gone before the last byte of the answer is sent (``uploads``). The page works without
JavaScript: the answer to the form is one page that grows while the analysis goes on.
"""
