"""Search for the backbone, image size and precision that suit a device."""
