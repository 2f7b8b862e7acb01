"""Mean and standard deviation of RGB, 0 to 1, that torchvision classifiers were pretrained with."""

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
