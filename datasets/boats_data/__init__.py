"""Image folders: scanning, groups, checks, download and synthetic demo data. No PyTorch."""
