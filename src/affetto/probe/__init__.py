"""What a recogniser's hidden layers know: which units follow the voice, which layer tells emotion, how it looks."""
