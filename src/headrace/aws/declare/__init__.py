"""What a project wants of AWS, as values: resources, the rights of each function, the template and what it costs."""
