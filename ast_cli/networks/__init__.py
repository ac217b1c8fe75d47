"""The networks, each read top-down: what is computed, not where.

`ast` and `config` are the Audio Spectrogram Transformer; `pretrained`, `kernels`, `outputs` and `processor`
belong to no family. Another family gets modules of its own beside them.
"""
