"""C2PA credentials: keys, certificates, manifests, signing, time stamps, reading.

Import the module you need: ``keys``, ``lint``, ``sign``, ``stamp``, ``read``. Reading needs the
C2PA library and nothing else; certificates and signing also need ``cryptography``.
"""
