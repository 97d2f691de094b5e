"""Long reports: true to the image and to themselves, to the end?"""
