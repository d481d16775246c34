"""``avsafe gallery``: clips of every task, made through the gate, on one page.

``plan`` (what is made), ``run`` (making, looking, listening), ``page`` (the HTML).
"""
