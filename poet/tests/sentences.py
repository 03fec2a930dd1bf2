"""Generated text for the tests."""

SENTENCES = [f"Sentence number {i} of the text says something about the value of {i * i}." for i in range(400)]
