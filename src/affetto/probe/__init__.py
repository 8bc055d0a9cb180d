"""What hidden layers know: which units follow the voice, which layer carries emotion, how utterances lie."""
