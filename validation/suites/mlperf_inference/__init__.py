"""Offline throughput and power of MLPerf Inference: ResNet-50 and BERT by vendors' compilers."""
