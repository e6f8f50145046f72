"""Quantize a model: GPTQ, round to nearest, bitsandbytes."""
