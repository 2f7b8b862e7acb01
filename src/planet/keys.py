"""The only keys that the planet knows. They open nothing anywhere else."""

KEY = "5111a7ed" * 4
SECRET = "5111a7ed" * 2
GOOGLE_KEY = "AIza" + "5imulated-" * 3 + "Plane"
SIGNING_SECRET = "c2ltdWxhdGVkLXBsYW5ldA=="  # "simulated-planet"
MAPILLARY_TOKEN = "MLY|" + "5111a7ed" * 2 + "|simulated"
