"""Side by side with PEFT and LyCORIS, in one process: `python -m benchmarks` prints ratios and checks targets."""
