"""Does this installation work, and are its numbers the published ones?"""
