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

# Two Deployments, each with a folder, a token and settings of its own; one function for both.
module "dagbucket" {
  source              = "../../aws"
  zip_file            = var.zip_file
  create_token_secret = false

  routes = [
    {
      name         = "dev"
      sources      = [{ url = "s3://acme-dags/dev/" }]
      deployment   = "clmh57jtm000008lb58fe2dev"
      token        = "aws-sm:${aws_secretsmanager_secret.token["dev"].arn}"
      quiet_period = "5s"
      guard        = { allow_empty = true }
    },
    {
      name       = "prod"
      sources    = [{ url = "s3://acme-dags/prod/" }]
      deployment = "clmh57jtm000008lb58fe2wmv"
      token      = "aws-sm:${aws_secretsmanager_secret.token["prod"].arn}"
      guard      = { max_removed_percent = 10, max_removed_files = 5 }
    },
  ]
}

# A Deployment API token can deploy to its own Deployment only: dev's is of no use for prod. Fill them with put-secret-value.
resource "aws_secretsmanager_secret" "token" {
  for_each = toset(["dev", "prod"])

  name_prefix = "astro/${each.value}-" # a deleted secret's name is not free for days
}
