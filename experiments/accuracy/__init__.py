"""How right are pronunciation and translation, by length and by training time?"""
