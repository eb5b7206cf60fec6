"""Checks at run time: are the ranks in step, is everything finite?"""
