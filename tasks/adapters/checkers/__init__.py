"""Classifiers of images and labellers of reports that stand in as the checkers of a data set without any."""
