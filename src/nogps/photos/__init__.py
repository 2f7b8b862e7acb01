"""One photo as bytes and pixels: decoding, EXIF, panoramas, tar shards.

Without torch.
"""
