"""One photo as bytes and pixels, without torch: decoding, EXIF, panoramas, tar shards."""
