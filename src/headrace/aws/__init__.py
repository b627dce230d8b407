"""The home of a pipeline in an AWS account. It mirrors `local/` file by file; boto3 and botocore appear here alone."""
