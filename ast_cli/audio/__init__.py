"""From paths to mono waveforms at the model's rate: discover, decode, resample."""
