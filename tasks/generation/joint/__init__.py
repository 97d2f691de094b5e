"""Unprompted pairs: do image and report agree, and are they distributed as the data?"""
