"""What supervised fine-tuning and GRPO share."""
