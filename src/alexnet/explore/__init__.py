"""The web page of `alexnet explore`: what a network does with an image, what excites its units, how it was trained."""
