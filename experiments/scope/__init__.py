"""How far, and through how many records, can each network relate two tokens?"""
