"""What can go wrong in a training while its reward looks well: checked every step, warned of or stopped."""
