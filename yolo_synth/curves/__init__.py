"""How mAP grows with the number of real pictures, and what synthetic ones are worth in them."""
