"""From a service or a folder to bytes on the disk: searching, limits, budget, downloading.

Without torch.
"""
