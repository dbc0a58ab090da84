"""Labels collections of images: rows of image and phrase with a mask, by one function that every engine calls."""
