"""How far detectors hold: figures of protocol files and of clips that are scored here."""
