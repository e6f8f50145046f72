"""Code that supervised fine-tuning and GRPO share."""
