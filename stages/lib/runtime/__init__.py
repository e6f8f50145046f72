"""What changes no result: terminal, devices, allocator, child processes."""
