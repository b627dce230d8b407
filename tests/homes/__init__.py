"""One story told in both homes: on AWS, by functions behind queues, and embedded. In the end the same is there."""
