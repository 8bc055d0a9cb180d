"""What the networks hear: spectrogram, MFCC, pitch and loudness, 100 frames a second, batched in torch."""
