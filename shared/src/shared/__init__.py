"""Code that two or more of the papers share: orthogonal matrices and language-model clients."""
