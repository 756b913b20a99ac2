"""How fast are training and decoding, and what does length cost?"""
