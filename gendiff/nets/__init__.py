"""Network architectures: plain modules, one a file, each with its frozen configuration on top.

The U-Net is longer: unet_config.py, unet_blocks.py, and unet.py, which puts them together.
"""
