"""What the networks read: spectrogram, MFCC, pitch and loudness, 100 frames a second, batched in torch."""
