terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.40, < 7.0"
    }
  }
}

provider "aws" {
  region = "eu-west-1"
}

# The bucket of an MWAA environment: DAGs below dags/, versioned (MWAA requires it), with whatever notifications others have set up.
module "dagbucket" {
  source   = "../../aws"
  zip_file = var.zip_file
  routes = [{
    name       = "prod"
    sources    = [{ url = "s3://acme-mwaa/dags/" }]
    deployment = "clmh57jtm000008lb58fe2wmv"
  }]

  # Straight from the bucket to the queue: one entry more in its notification document. With "eventbridge" all of the bucket's events,
  # also those of MWAA's plugins and requirements, would go to EventBridge; the rule would pick those below dags/.
  trigger = "notification"

  # MWAA buckets are often encrypted with a key of their own; the function must be allowed to decrypt with it.
  buckets = {
    acme-mwaa = { kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab" }
  }
}
