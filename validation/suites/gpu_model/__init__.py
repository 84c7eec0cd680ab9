"""Whole transformers on GPUs: inference and training steps of HuggingFace's BERT, GPT-2 and OPT."""
