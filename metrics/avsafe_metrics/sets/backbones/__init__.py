"""Networks that turn pictures, windows of video or sound into rows of features, one a file.

Weights come from a path that the user gives. A backbone of pictures has ``prepare(frame)`` and
``features(batch)``, one of video the same over windows of ``frames`` frames, one of sound has
``rate_hz`` and ``features(sound)``. ``motion_texture`` and ``sound_texture`` need no weights.
"""
