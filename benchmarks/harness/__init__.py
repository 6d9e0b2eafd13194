"""What runs programs side by side, and prints what they achieved."""
