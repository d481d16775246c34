"""Watermarkers of others behind our plugin kind: VideoSeal, TrustMark, AudioSeal, Perth.

One module a system; what they share is in ``weights`` (files that the user names), ``message``
(payload, check and key around a network's bits), ``pictures`` and ``sounds`` (streams around a
network that wants small squares or short mono sound). docs/watermark-adapters.md says how to
install and configure each. Heavy packages are imported by name when a network is first used, so
that nothing here needs them; install them by ``pip install 'avsafe[marks]'``.
"""
