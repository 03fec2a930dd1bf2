"""Provers: prompts, whole-proof sampling, tree search, and tactic menus that need no large model."""
