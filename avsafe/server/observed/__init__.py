"""What whoever runs the service sees of it: log lines, Prometheus metrics, OpenTelemetry traces.

An event is told once, by the functions of ``events``, and becomes a line, a number and a span.
None of the three holds a prompt, a name, an address or a body: what may be said is a fixed list
(``logs.FIELDS``), and every label of a metric has few values.
"""
