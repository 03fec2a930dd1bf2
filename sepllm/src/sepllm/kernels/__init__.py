"""Triton kernels; nothing here is imported before a CUDA tensor asks for it."""
